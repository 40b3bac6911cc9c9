module windlass/bench/go-calls

go 1.26.0
