package lab

import "time"

const pollEvery = 20 * time.Millisecond

// Eventually tries until f has no error, once at least, and returns how long
// that took.
func (l *Lab) Eventually(within time.Duration, f func() error) time.Duration {
	l.t.Helper()
	begun := time.Now()
	for {
		err := f()
		took := time.Since(begun)
		if err == nil {
			return took
		}
		if took > within {
			l.t.Fatalf("after %s: %v", took.Round(time.Millisecond), err)
		}
		<-time.After(pollEvery)
	}
}

// Steady wants no error of f for a time.
func (l *Lab) Steady(during time.Duration, f func() error) {
	l.t.Helper()
	begun := time.Now()
	for {
		if err := f(); err != nil {
			l.t.Fatalf("after %s: %v", time.Since(begun).Round(time.Millisecond), err)
		}
		if time.Since(begun) > during {
			return
		}
		<-time.After(pollEvery)
	}
}
