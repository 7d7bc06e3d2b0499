/* SPDX-License-Identifier: GPL-2.0 */

/*
 * The claims of rust/engine/claims.rs: nothing is done twice, lost, or done after the caller has returned,
 * who does return, even if helpers never start.
 *
 * All see each access to the word and the limit in one order; for weaker ones see tests/claims.rs.
 */

#ifndef HELPERS
#define HELPERS 3
#endif
#ifndef POSITIONS
#define POSITIONS 3
#endif

/* The word. Four positions and eight chunks are enough. */
#define NEXT		3
#define WORKING_ONE	4
#define WORKING		28
#define WAITING		32
#define CLOSED		64

/* In the limit. */
#define COMPLETE	128

mtype = { CHUNK, LATER, NOTHING };

byte word, limit;
bool done[POSITIONS];
bool asleep, woken, returned;

/* Not kept from one step to the next, nor part of the state. */
hidden byte l;
hidden byte swapped;

/* If it fails, w is what the word is now. */
inline cmpxchg(new)
{
	swapped = (word == w);
	if
	:: swapped -> word = new
	:: else -> w = word
	fi
}

/* Chunks are of one position or two, as their size is up to the path. */
inline claim()
{
	w = word;
	do
	:: atomic {
		w & CLOSED -> claimed = NOTHING; w = 0; break
	}
	:: atomic {
		!(w & CLOSED) ->
		l = limit;
		at = w & NEXT;
		if
		:: at >= (l & ~COMPLETE) ->
			claimed = (l & COMPLETE -> NOTHING : LATER);
			at = 0; end = 0; w = 0;
			break
		:: at < (l & ~COMPLETE) -> end = at + 1
		:: at + 1 < (l & ~COMPLETE) -> end = at + 2
		fi
	}
	atomic {
		cmpxchg((w & ~NEXT | end) + WORKING_ONE);
		if
		:: swapped -> claimed = CHUNK; w = 0; break
		:: else
		fi
	}
	od
}

inline work()
{
	d_step {
		assert(!returned);
		do
		:: at < end -> assert(!done[at]); done[at] = true; at++
		:: else -> break
		od
	}
}

/* Gives the chunk back. */
inline drop()
{
	w = word;
	do
	:: atomic {
		wake = ((w - WORKING_ONE) & WORKING) == 0 && (w & WAITING);
		cmpxchg((w - WORKING_ONE) & ~(wake -> WAITING : 0));
		if
		:: swapped -> at = 0; end = 0; w = 0; break
		:: else -> wake = false
		fi
	}
	od;
	if
	:: wake -> d_step { assert(asleep && !woken); woken = true; wake = false }
	:: else
	fi
}

inline close()
{
	w = word;
	do
	:: atomic {
		cmpxchg(w | CLOSED);
		if
		:: swapped -> w = 0; break
		:: else
		fi
	}
	od
}

inline wait()
{
	do
	:: w = word;
		if
		:: !(w & WORKING) -> break
		:: else
		fi;
		atomic {
			cmpxchg(w | WAITING);
			if
			:: swapped -> asleep = true; break
			:: else
			fi
		}
	od;
	if
	:: w & WORKING -> d_step { woken; woken = false; asleep = false }
	:: else
	fi
}

/* The caller may look again as often as it likes before it sleeps. */
inline join()
{
	do
	:: !(word & WORKING) -> break
	:: word & WORKING
	:: word & WORKING -> wait(); break
	od;
	assert(!(word & (WORKING | WAITING)) && !asleep && !woken)
}

active proctype caller()
{
	byte w, at, end, published;
	mtype claimed;
	bool wake, failed;

	/* It may publish in steps, complete, publish more after that, and leave at any time. */
	do
	:: published < POSITIONS ->
		published++;
		limit = published
	:: published < POSITIONS ->
		published++;
		limit = published | COMPLETE;
		do
		:: claim();
			if
			:: claimed != CHUNK -> break
			:: claimed == CHUNK -> work(); drop()
			:: claimed == CHUNK -> failed = true; drop(); close(); break
			fi
		od;
		join();
		if
		:: failed -> break
		:: else
		fi;
		d_step {
			at = 0;
			do
			:: at < published -> assert(done[at]); at++
			:: else -> at = 0; break
			od
		}
	:: break
	od;

	close();
	join();
	returned = true
}

active [HELPERS] proctype helper()
{
	byte w, at, end;
	mtype claimed;
	bool wake;

	/* It may never start, and may wait for work for as long as it likes. */
	do
	:: break
	:: claim();
		if
		:: claimed == NOTHING -> break
		:: claimed == LATER -> break
		:: claimed == LATER
		:: claimed == CHUNK -> work(); drop()
		fi
	od
}

ltl returns { <> returned }
