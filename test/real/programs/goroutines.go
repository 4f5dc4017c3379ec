// Goroutines in a ring pass numbers on, each with a map and garbage of its own.
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
)

const (
	ring   = 400
	rounds = 150
	turns  = 6
)

type token struct {
	hops int
	sum  [32]byte
}

// depth makes a goroutine's stack grow and shrink.
func depth(n int, s [32]byte) [32]byte {
	if n == 0 {
		return sha256.Sum256(s[:])
	}
	return depth(n-1, s)
}

func station(id int, in <-chan token, out chan<- token) {
	seen := make(map[int]string)
	for t := range in {
		seen[t.hops%97] = fmt.Sprintf("%d at %d: %x", t.hops, id, t.sum[:4])
		t.sum = depth(id%40, t.sum)
		t.sum[id%32] ^= byte(len(seen[(t.hops*7)%97]))
		t.hops++
		out <- t
	}
	close(out)
}

func main() {
	const tokens = 8
	first := make(chan token, tokens)
	last := first
	for id := 0; id < ring; id++ {
		next := make(chan token, tokens)
		go station(id, last, next)
		last = next
	}
	for i := 0; i < tokens; i++ {
		first <- token{sum: sha256.Sum256([]byte{byte(i)})}
	}
	for round := 0; round < rounds; round++ {
		for i := 0; i < tokens*turns; i++ {
			first <- <-last
		}
		t := <-last
		fmt.Fprintf(os.Stdout, "%d %d %x\n", round, t.hops, t.sum)
		first <- t
	}
	for i := 0; i < tokens; i++ {
		<-last
	}
	close(first)
	<-last
}
