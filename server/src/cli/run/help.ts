/** What `holdfast run --help` says after the options. */
export const runNotes = `
Options stand before the key. Everything after the key is the command and its arguments, as with
flock(1), with or without one "--" between; "-c LINE" directly after the key runs a line with the
shell in SHELL.

The command has HOLDFAST_KEY and HOLDFAST_FENCE in its environment, not HOLDFAST_TOKEN (but see
--pass-token), and our standard input, output and error. Its exit code is ours, 128 + n if signal n
ended it, 126 or 127 if it could not be run; 75, 76 and the others are below. --timeout includes the
time to connect; if that is all it was enough for, the code is 75, never that of -E. With --try a
broker that does not answer within 2 s is 69.

The lock is kept until every process of the command's process group has ended, those in the
background too. What leaves the group, as setsid(1), daemons and the jobs of an interactive shell
do, is neither waited for nor stopped. --leader-only waits for the command itself alone.

Signals are passed to the process group, except those that no program can catch; if one of these
(SIGKILL, a real-time signal) ends "holdfast run", a watchdog kills the group with SIGKILL at once.
Signals that were ignored when we were started, as by nohup(1), stay ignored for the command. If
standard input is a terminal, we are in its foreground, and no other process of our job is, the
command gets the terminal: Ctrl-C and Ctrl-Z, /dev/tty and job control work as without us. In a
pipeline ("holdfast run ... | less") it has none.

When nothing is heard of the broker, the whole process group gets SIGTERM, and --kill-after later
SIGKILL, both before the lease is over: after silence the command is dead before the lock is granted
to another session. This cannot be promised in these cases:
- A lock is revoked or stolen: the command is stopped when the news arrives.
- "holdfast run" is stopped with SIGSTOP, or killed together with its watchdog.
- The command runs as another user, whom we may not signal: the lock is kept until the command has
  ended, as long as the broker is there.
There only the fence protects: hand HOLDFAST_FENCE to what the lock is for, and let that refuse a
lower one than the highest it has seen.

As the first process of a container, give it an init (docker run --init): it does not collect the
orphans of others. On Windows there is no "holdfast run"; "holdfast hold" works there.`
