// victim.go - goroutines on small stacks, next to each other, that check what they hold.
//
//	victim FILE
//
// Writes into the same report as victim.c (see report.h): thread 0 stands for
// all goroutines.
package main

import (
	"encoding/binary"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

const goroutines = 200

// Fills its frame, waits inside it, and looks whether the frame is still its own.
//
//go:noinline
func dig(depth int, seed uint64, wait func()) bool {
	var frame [24]uint64
	for i := range frame {
		frame[i] = seed + uint64(i*depth)
	}
	ok := true
	if depth > 0 {
		ok = dig(depth-1, seed*31+1, wait)
	} else {
		wait()
	}
	for i := range frame {
		ok = ok && frame[i] == seed+uint64(i*depth)
	}
	return ok
}

func main() {
	file, err := os.OpenFile(os.Args[1], os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0600)
	if err != nil {
		os.Exit(1)
	}
	const size = 256 - 8 + 1024*8
	if file.Truncate(size) != nil {
		os.Exit(1)
	}
	mem, err := syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		os.Exit(1)
	}
	var rounds, damage uint64
	for g := 0; g < goroutines; g++ {
		go func(g int) {
			wait := []func(){runtime.Gosched, func() { time.Sleep(time.Millisecond) }, func() {
				for i := 0; i < 100000; i++ {
					_ = i
				}
			}}[g%3]
			for {
				if !dig(g%6, uint64(g)*0x9e3779b97f4a7c15, wait) {
					atomic.AddUint64(&damage, 1)
				}
				atomic.AddUint64(&rounds, 1)
			}
		}(g)
	}
	for {
		time.Sleep(5 * time.Millisecond)
		binary.LittleEndian.PutUint32(mem[4:], uint32(atomic.LoadUint64(&damage)))
		binary.LittleEndian.PutUint64(mem[248:], atomic.LoadUint64(&rounds)/goroutines)
		binary.LittleEndian.PutUint32(mem[0:], 1)
	}
}
