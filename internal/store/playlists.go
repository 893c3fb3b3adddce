package store

import "sync"

// maxLists bounds how many owners' lists are kept.
const maxLists = 1000

// playLists are the plays of owners as they were last read: lists are asked
// for far more often than plays change. Only this process writes plays.
type playLists struct {
	mu    sync.Mutex
	lists map[string][]Play
	// writes counts them: what was read before one is not kept after it.
	writes uint64
}

func newPlayLists() *playLists { return &playLists{lists: make(map[string][]Play)} }

func (l *playLists) get(owner string) (list []Play, writes uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, ok = l.lists[owner]
	return list, l.writes, ok
}

// put keeps what was read when there had been so many writes.
func (l *playLists) put(owner string, list []Play, writes uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if writes != l.writes {
		return
	}
	if len(l.lists) >= maxLists {
		clear(l.lists)
	}
	l.lists[owner] = list
}

// wrote is called after an owner's plays were written; "" is anybody's.
func (l *playLists) wrote(owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	if owner == "" {
		clear(l.lists)
	}
	delete(l.lists, owner)
}
