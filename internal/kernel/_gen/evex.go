package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// evex emits a 512-bit instruction on three registers (EVEX, opcode map 0F38,
// W0) that Go's assembler does not know, as LONG and WORD directives. Operands
// are in Go's order. The fields are those of the Intel manual, volume 2, §2.7.
func evex(name string, pp, opcode byte, rm, vvvv, dst reg.Physical) {
	d, v, m := number(dst), number(vvvv), number(rm)
	inv := func(x byte, bit uint) byte { return ^(x >> bit) & 1 }
	p0 := inv(d, 3)<<7 | inv(m, 4)<<6 | inv(m, 3)<<5 | inv(d, 4)<<4 | 0x02
	p1 := (^v&15)<<3 | 1<<2 | pp
	p2 := byte(2<<5) | inv(v, 4)<<3
	modrm := byte(0xC0) | d&7<<3 | m&7
	Comment(fmt.Sprintf("%s %s, %s, %s", name, rm.Asm(), vvvv.Asm(), dst.Asm()))
	Instruction(&ir.Instruction{
		Opcode:   "LONG",
		Operands: []operand.Op{operand.U32(uint32(0x62) | uint32(p0)<<8 | uint32(p1)<<16 | uint32(p2)<<24)},
	})
	Instruction(&ir.Instruction{
		Opcode:   "WORD",
		Operands: []operand.Op{operand.U16(uint16(opcode) | uint16(modrm)<<8)},
	})
}

func number(r reg.Physical) byte { return byte(r.PhysicalIndex()) }

// VDPBF16PS adds to each float of dst the dot product of two pairs of bfloat16.
func VDPBF16PS(rm, v, dst reg.Physical) { evex("VDPBF16PS", 2, 0x52, rm, v, dst) }

// VCVTNE2PS2BF16 rounds to nearest even: the low half of dst from rm, the high
// half from v.
func VCVTNE2PS2BF16(rm, v, dst reg.Physical) { evex("VCVTNE2PS2BF16", 3, 0x72, rm, v, dst) }
