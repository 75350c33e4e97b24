// Command gen writes the assembly of package kernel.
//
//	go run .                  every group
//	go run . -only products   one group: ../products_amd64.s and its stubs
//
// It is a module of its own, so that avo is no dependency of the program.
package main

import (
	"flag"
	"log"
	"maps"
	"os"
	"os/exec"
	"slices"

	. "github.com/mmcloughlin/avo/build"
)

// groups are the output files and what writes their functions.
func groups() map[string]func() {
	return map[string]func(){
		"amx":      amx,
		"tiled":    tiledAttention,
		"halves":   float16s,
		"lowrank":  lowRanks,
		"products": products,
		"rows":     rows,
		"shorts":   shorts,
		"training": training,
	}
}

func main() {
	log.SetFlags(0)
	only := flag.String("only", "", "the one group to write")
	flag.Parse()
	if *only == "" {
		all()
		return
	}
	write, ok := groups()[*only]
	if !ok {
		log.Fatalf("no group is called %q", *only)
	}
	set("out", "../"+*only+"_amd64.s")
	set("stubs", "../"+*only+"_amd64.go")
	set("pkg", "kernel")
	ConstraintExpr("amd64,!purego")
	write()
	Generate()
}

// all runs this program once for each group: avo keeps one file per process.
func all() {
	for _, name := range slices.Sorted(maps.Keys(groups())) {
		cmd := exec.Command(os.Args[0], "-only", name)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			log.Fatalf("write %s: %v", name, err)
		}
	}
}

func set(name, value string) {
	if err := flag.Set(name, value); err != nil {
		log.Fatal(err)
	}
}
