package zones

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// maxSteps bounds one $GENERATE directive.
const maxSteps = 1 << 16

// generate obeys $GENERATE START-STOP[/STEP] NAME [TTL] [CLASS] TYPE DATA, as
// BIND has it: a dollar is the number, ${OFFSET[,WIDTH[,BASE]]} the number
// changed, $$ or \$ a dollar.
func (s *source) generate(args []string) {
	if len(args) < 4 {
		s.errorf("$GENERATE with %d arguments: expected START-STOP[/STEP] NAME [TTL] [CLASS] TYPE DATA", len(args))
		return
	}
	start, stop, step, err := generateRange(args[0])
	if err != nil {
		s.errorf("$GENERATE %q: %v", args[0], err)
		return
	}
	if s.p.generate -= (stop-start)/step + 1; s.p.generate < 0 {
		s.errorf("$GENERATE makes more than %d records in the zone", maxGenerated)
		return
	}
	template := s.in.text[bytes.Index(s.in.text, []byte(args[0]))+len(args[0]):]
	template = bytes.TrimLeft(template, " \t")
	var line []byte
	for n := start; n <= stop; n += step {
		if line, err = expand(line[:0], template, n); err != nil {
			s.errorf("$GENERATE: %v", err)
			return
		}
		if len(line) > maxEntry {
			s.errorf("$GENERATE makes %v", errLongEntry)
			return
		}
		e := entry{text: line}
		if err := e.look.scan(line); err != nil {
			s.errorf("$GENERATE: %v", err)
			return
		}
		if s.record(e); s.p.b.report.full() {
			return
		}
		s.p.b.pace.tick()
	}
}

func generateRange(arg string) (start, stop, step int, err error) {
	span, by, ok := strings.Cut(arg, "/")
	step = 1
	if ok {
		if step, err = strconv.Atoi(by); err != nil || step < 1 {
			return 0, 0, 0, fmt.Errorf("found the step %q: expected a whole number from 1", by)
		}
	}
	from, to, _ := strings.Cut(span, "-")
	start, err1 := strconv.Atoi(from)
	stop, err2 := strconv.Atoi(to)
	switch {
	case err1 != nil || err2 != nil || start < 0 || stop < start || stop > maxTTL:
		return 0, 0, 0, fmt.Errorf("expected START-STOP[/STEP], whole numbers from 0 to %d, the first not above the second", maxTTL)
	case (stop-start)/step >= maxSteps:
		return 0, 0, 0, fmt.Errorf("makes %d records: expected at most %d", (stop-start)/step+1, maxSteps)
	}
	return start, stop, step, nil
}

// expand appends the template with the number n put in.
func expand(line, template []byte, n int) ([]byte, error) {
	for i := 0; i < len(template); i++ {
		c := template[i]
		next := byte(0)
		if i+1 < len(template) {
			next = template[i+1]
		}
		switch {
		case c == '\\' && next == '$', c == '$' && next == '$':
			line = append(line, '\\', '$')
			i++
		case c == '\\' && next != 0:
			line = append(line, c, next)
			i++
		case c == '$' && next == '{':
			end := bytes.IndexByte(template[i:], '}')
			if end < 0 {
				return nil, fmt.Errorf(`"${" is not closed: expected "}"`)
			}
			number, err := modified(string(template[i+2:i+end]), n)
			if err != nil {
				return nil, err
			}
			line = append(line, number...)
			i += end
		case c == '$':
			line = strconv.AppendInt(line, int64(n), 10)
		default:
			line = append(line, c)
		}
	}
	return line, nil
}

// modified gives the number as OFFSET[,WIDTH[,BASE]] asks for it.
func modified(mod string, n int) (string, error) {
	parts := strings.Split(mod, ",")
	offset, err := strconv.Atoi(parts[0])
	width, base := 0, "d"
	if err == nil && len(parts) > 1 {
		width, err = strconv.Atoi(parts[1])
	}
	if len(parts) > 2 {
		base = parts[2]
	}
	if err != nil || len(parts) > 3 || width < 0 || width > 255 || !strings.Contains("doxXnN", base) || len(base) != 1 {
		return "", fmt.Errorf("${%s}: expected ${OFFSET[,WIDTH[,BASE]]}, the width at most 255, the base one of d, o, x, X, n, N", mod)
	}
	if n += offset; n < 0 || n > maxTTL {
		return "", fmt.Errorf("${%s} gives %d: expected 0 to %d", mod, n, maxTTL)
	}
	if base == "n" || base == "N" {
		return nibbles(n, width, base == "N"), nil
	}
	return fmt.Sprintf("%0*"+base, width, n), nil
}

// nibbles writes a number as in ip6.arpa: hexadecimal digits, the lowest
// first, parted by dots. The width counts digits and dots.
func nibbles(n, width int, upper bool) string {
	digits := "0123456789abcdef"
	if upper {
		digits = "0123456789ABCDEF"
	}
	var b []byte
	for {
		b = append(b, digits[n&15])
		if n >>= 4; n == 0 && len(b) >= width {
			return string(b)
		}
		b = append(b, '.')
	}
}
