package practice_test

// The beginnings of the SHA-256 of what seed 1 makes, 360 items of all topics.
const (
	goldenSpanish = "a7adc684b3abcb13"
	goldenEnglish = "7289a790f10dd85d"
)
