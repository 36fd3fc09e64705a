// Command lab brings up a network of three sites on this machine, as root, with
// a node in each, and takes orders: cut a link, kill a site, see what is
// answered. With files it plays the stories in them. docs/lab.md has the words.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/scloudstack/pharos/integration/lab/lab"
)

const usage = `usage: lab [flags] [STORY.txt ...]

With no story: a prompt. Root is needed, and bin/pharos (make build).
`

func main() {
	lab.RunPart()
	os.Exit(run())
}

// run is main without its exit, so that everything deferred happens.
func run() int {
	program := flag.String("pharos", "", "the `program` that nodes run; default $PHAROS, else bin/pharos")
	solo := flag.Bool("solo", false, "every node knows itself alone")
	accuracy := flag.Bool("accuracy", false, "measure the emulator's accuracy, and nothing else; best on a machine that does nothing else")
	datagrams := flag.Int("datagrams", 5000, "for -accuracy")
	verbose := flag.Bool("v", false, "show all of a story, not only what failed")
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage); flag.PrintDefaults() }
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	topology := lab.Default()
	topology.Program, topology.Solo = *program, *solo
	var err error
	switch {
	case *accuracy:
		err = lab.Accuracy(ctx, *datagrams, os.Stdout)
	case flag.NArg() > 0:
		err = play(flag.Args(), topology, *verbose)
	default:
		err = converse(ctx, topology)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}

// played is a story, or all of them, outside of a test.
type played struct {
	verbose bool
	failed  bool
}

// playFailed ends a story.
type playFailed struct{}

func (p *played) Parallel()        {}
func (p *played) Verbose() bool    { return p.verbose }
func (p *played) Failed() bool     { return p.failed }
func (p *played) Log(args ...any)  { fmt.Println(args...) }
func (p *played) Skip(args ...any) { p.Fatal(append([]any{"skipped:"}, args...)...) }
func (p *played) Fatal(args ...any) {
	p.Log(args...)
	p.FailNow()
}

func (p *played) FailNow() {
	p.failed = true
	panic(playFailed{})
}

func (p *played) Run(name string, f func(testscript.T)) {
	story := &played{verbose: p.verbose}
	fmt.Println("story", name)
	func() {
		defer func() {
			if e := recover(); e != nil {
				if _, is := e.(playFailed); !is {
					panic(e)
				}
			}
		}()
		f(story)
	}()
	p.failed = p.failed || story.failed
}

func play(files []string, topology lab.Topology, verbose bool) error {
	all := &played{verbose: verbose}
	lab.PlayAll(all, testscript.Params{Files: files}, topology)
	if all.failed {
		return fmt.Errorf("a story failed")
	}
	return nil
}

// converse brings up the lab and does what is typed, until the end of it.
func converse(ctx context.Context, topology lab.Topology) (err error) {
	read := func(name string) (string, error) {
		text, err := os.ReadFile(name)
		return string(text), err
	}
	stage := lab.NewStage(topology, read, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
	defer func() { err = errors.Join(err, stage.Close(false)) }()
	if err := stage.Do([]string{"lab"}, os.Stdout, os.Stderr); err != nil {
		return err
	}
	describe(stage.Lab(), os.Stdout)
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	for {
		fmt.Print("lab> ")
		select {
		case <-ctx.Done():
			fmt.Println()
			return nil
		case text, more := <-lines:
			if !more || text == "exit" || text == "quit" {
				return nil
			}
			obey(stage, text)
		}
	}
}

func obey(stage *lab.Stage, text string) {
	words, err := split(text)
	if err == nil {
		switch {
		case len(words) == 0:
			return
		case words[0] == "help":
			fmt.Print(lab.Help())
			fmt.Println("in NODE COMMAND ...\n        — a program on the node's host, such as: in edge-a1 ip route\nexit")
			return
		case words[0] == "in" && len(words) > 2:
			err = runIn(stage.Lab(), words[1], words[2:])
		default:
			err = stage.Do(words, os.Stdout, os.Stderr)
		}
	}
	if err != nil {
		fmt.Println("  " + strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
}

// split takes a line apart at spaces; what is in single quotes is one word.
func split(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	begun, quoted := false, false
	for _, r := range text {
		switch {
		case r == '\'':
			begun, quoted = true, !quoted
		case r == ' ' && !quoted:
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}

func runIn(l *lab.Lab, node string, command []string) error {
	for _, n := range l.Nodes() {
		if n.Name() == node {
			cmd := exec.Command(command[0], command[1:]...)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			p, err := n.Host().Start(cmd)
			if err != nil {
				return err
			}
			return p.How()
		}
	}
	return fmt.Errorf("no node %q", node)
}

// describe tells what there is, and what to do with it.
func describe(l *lab.Lab, out io.Writer) {
	_, _ = fmt.Fprintf(out, "The lab is up; its files are in %s until it ends (exit, or Ctrl-C).\n\n", l.Dir())
	for _, s := range l.Sites() {
		_, _ = fmt.Fprintf(out, "  %-8s balancer %s", s.Name(), s.Balancer(0))
		for _, n := range s.Nodes() {
			_, _ = fmt.Fprintf(out, ", node %s %s", n.Name(), n.Address())
		}
		_, _ = fmt.Fprintln(out)
	}
	for _, k := range l.Links() {
		_, _ = fmt.Fprintf(out, "  link %s\n", k)
	}
	_, _ = fmt.Fprint(out, "\nFrom another terminal, as root:\n")
	for _, n := range l.Nodes() {
		_, _ = fmt.Fprintf(out, "  nsenter --net=%s dig @%s www.shop.example +short\n", n.Site().Clients().Path(), n.Access())
		_, _ = fmt.Fprintf(out, "  bin/pharos status --data-dir %s\n", n.DataDir())
	}
	_, _ = fmt.Fprint(out, `
Here: show · cut dwdm · mend dwdm · impair lease-1 loss=30% · balancers city-a down · crash site city-a
      pharos edge-a1 status · expect answer www.shop.example 203.0.113.20 within 2s · help
`)
}
