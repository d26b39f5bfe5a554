package config

func usage(known leaf) string { return sentence(known.path) }
