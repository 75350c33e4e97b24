package lora

import (
	"regexp"
	"strings"

	"afina/internal/model"
)

// quantSuffix is how a file's name ends when it tells the format of the weights.
const quantSuffix = `(?i)[-._](i?q[1-8](_[0-9a-z]+)*|bf16|f16|f32|fp16|fp32)$`

// BaseID is the best guess at how the Hugging Face hub calls the unquantised
// model, for base_model_name_or_path: the repository that the file names as its
// source, else its organisation and the file's own name, else that name alone.
func BaseID(m *model.Model) string {
	const hub = "https://huggingface.co/"
	for _, key := range []string{"general.source.repo_url", "general.source.url", "general.repo_url", "general.url"} {
		if url, ok := m.Metadata.String(key); ok && strings.HasPrefix(url, hub) {
			if id := strings.Trim(strings.TrimPrefix(url, hub), "/"); strings.Count(id, "/") == 1 {
				return id
			}
		}
	}
	name := regexp.MustCompile(quantSuffix).ReplaceAllString(m.Name, "")
	if org, ok := m.Metadata.String("general.organization"); ok && org != "" && !strings.ContainsAny(org, " /") {
		return org + "/" + name
	}
	return name
}
