module completions {

  def "nu-complete pidns search" [] {
    [ "processes" "children" "threads" "fds" "mounts" "all" ]
  }

  def "nu-complete pidns details" [] {
    [ "args" "namespaces" "cgroup" "all" ]
  }

  def "nu-complete pidns members" [] {
    [ "all" "init" "none" ]
  }

  def "nu-complete pidns state" [] {
    [ "live" "dead" "nascent" "unknown" ]
  }

  def "nu-complete pidns format" [] {
    [ "text" "json" "yaml" "dot" "mermaid" ]
  }

  def "nu-complete pidns color" [] {
    [ "auto" "always" "never" ]
  }

  # Show the PID namespace hierarchy of a Linux host
  export extern pidns [
    --search: string@"nu-complete pidns search" # Where to look for namespaces, beside every process's own: a list with commas
    --details: string@"nu-complete pidns details" # What else to read of every process: a list with commas; args may hold secrets
    --procfs: directory       # The procfs to read, such as a host's /proc bound into a container
    --input(-i): path         # Read a saved document, JSON or YAML, instead of the live kernel; - is standard input
    --root(-r): string        # Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid
    --depth: string           # Only namespaces at most N levels below --root or the topmost; 0 for these alone
    --members: string@"nu-complete pidns members" # Which members to show of the namespaces
    --comm: string            # Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z] and [!a-z] are wild
    --user: string            # Only processes of this user
    --container: string       # Only the container whose id, or whose pod's UID, begins so: its namespaces and what is below them, and its processes in others. Reads cgroups (see --details)
    --state: string@"nu-complete pidns state" # Only namespaces in this state; and, among their ancestors, those who keep them
    --format(-f): string@"nu-complete pidns format" # Output format
    --pretty                  # Indent JSON even when it does not go to a terminal
    --color: string@"nu-complete pidns color" # When to colour text; NO_COLOR and CLICOLOR are respected
    --ascii                   # Draw text in ASCII alone; the default where the locale is not UTF-8
    --no-fold                 # Give every process and namespace a line of its own in text and pictures
    --strict                  # Exit with status 3 if the view is incomplete
    --quiet(-q)               # No warnings on standard error
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
    ...pids: string           # Only the branches that hold these processes: they, their namespaces, those that they keep though these are not live, and the ancestors
  ]

  def "nu-complete pidns translate format" [] {
    [ "text" "json" ]
  }

  # Print a process's PID in another PID namespace
  export extern "pidns translate" [
    --from: string            # The namespace that PID is in: an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid
    --to: string              # The namespace to translate it to, likewise
    --procfs: directory       # The procfs to read, such as a host's /proc bound into a container
    --input(-i): path         # Read a saved document, JSON or YAML, instead of the live kernel; - is standard input
    --format(-f): string@"nu-complete pidns translate format" # Output format
    --pretty                  # Indent JSON even when it does not go to a terminal
    --help(-h)                # Print help (see more with '--help')
    pid: string               # The PID to translate
  ]

  def "nu-complete pidns check search" [] {
    [ "processes" "children" "threads" "fds" "mounts" "all" ]
  }

  def "nu-complete pidns check details" [] {
    [ "args" "namespaces" "cgroup" "all" ]
  }

  def "nu-complete pidns check members" [] {
    [ "all" "init" "none" ]
  }

  def "nu-complete pidns check state" [] {
    [ "live" "dead" "nascent" "unknown" ]
  }

  def "nu-complete pidns check format" [] {
    [ "text" "json" "ndjson" "github" "junit" "markdown" ]
  }

  def "nu-complete pidns check color" [] {
    [ "auto" "always" "never" ]
  }

  # Say what is wrong on this host, and fail if it must not be
  export extern "pidns check" [
    --since: path             # Compare with this saved document: what was not there before is a leftover
    --deny: string            # Fail if there is such a thing. RULE is a code, or CODE:KEY=VALUE for a part of it: comm=GLOB, ns=NS, container=PREFIX, user=NAME
    --warn: string            # Say that there is, and do not fail
    --allow: string           # Pass over it
    --policy: path            # Read rules from this file (YAML); those of the options go before them
    --wait: string            # Look again until nothing is denied, or this time is over
    --search: string@"nu-complete pidns check search" # Where to look for namespaces, beside every process's own: a list with commas
    --details: string@"nu-complete pidns check details" # What else to read of every process: a list with commas; args may hold secrets
    --procfs: directory       # The procfs to read, such as a host's /proc bound into a container
    --input(-i): path         # Read a saved document, JSON or YAML, instead of the live kernel; - is standard input
    --root(-r): string        # Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid
    --depth: string           # Only namespaces at most N levels below --root or the topmost; 0 for these alone
    --members: string@"nu-complete pidns check members" # Which members to show of the namespaces
    --comm: string            # Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z] and [!a-z] are wild
    --user: string            # Only processes of this user
    --container: string       # Only the container whose id, or whose pod's UID, begins so: its namespaces and what is below them, and its processes in others. Reads cgroups (see --details)
    --state: string@"nu-complete pidns check state" # Only namespaces in this state; and, among their ancestors, those who keep them
    --format(-f): string@"nu-complete pidns check format" # Output format
    --pretty                  # Indent JSON even when it does not go to a terminal
    --color: string@"nu-complete pidns check color" # When to colour text; NO_COLOR and CLICOLOR are respected
    --ascii                   # Draw text in ASCII alone; the default where the locale is not UTF-8
    --no-fold                 # Give every process and namespace a line of its own in text and pictures
    --strict                  # Exit with status 3 if the view is incomplete
    --quiet(-q)               # No warnings on standard error
    --help(-h)                # Print help (see more with '--help')
  ]

  def "nu-complete pidns diff members" [] {
    [ "all" "init" "none" ]
  }

  def "nu-complete pidns diff state" [] {
    [ "live" "dead" "nascent" "unknown" ]
  }

  def "nu-complete pidns diff format" [] {
    [ "text" "json" "ndjson" "mermaid" ]
  }

  def "nu-complete pidns diff color" [] {
    [ "auto" "always" "never" ]
  }

  # Say what came, went and changed between two views
  export extern "pidns diff" [
    --kernel-threads          # Also compare threads of the kernel
    --procfs: directory       # The procfs to read where AFTER is the live kernel
    --root(-r): string        # Only this namespace and what is below it. NS is an inode, pid:[INODE], pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid
    --depth: string           # Only namespaces at most N levels below --root or the topmost; 0 for these alone
    --members: string@"nu-complete pidns diff members" # Which members to show of the namespaces
    --comm: string            # Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z] and [!a-z] are wild
    --user: string            # Only processes of this user
    --container: string       # Only the container whose id, or whose pod's UID, begins so: its namespaces and what is below them, and its processes in others. Reads cgroups (see --details)
    --state: string@"nu-complete pidns diff state" # Only namespaces in this state; and, among their ancestors, those who keep them
    --format(-f): string@"nu-complete pidns diff format" # Output format
    --pretty                  # Indent JSON even when it does not go to a terminal
    --color: string@"nu-complete pidns diff color" # When to colour text; NO_COLOR and CLICOLOR are respected
    --ascii                   # Draw text in ASCII alone; the default where the locale is not UTF-8
    --no-fold                 # Give every process and namespace a line of its own in text and pictures
    --strict                  # Exit with status 3 if the view is incomplete
    --quiet(-q)               # No warnings on standard error
    --help(-h)                # Print help (see more with '--help')
    before: path              # The first: a saved document, JSON or YAML; - is standard input
    after?: path              # The second, likewise; the live kernel where it is left out
  ]

  def "nu-complete pidns run deny" [] {
    [ "dead-namespace" "leftover-process" "leftover-namespace" "nascent-namespace" "zombie" ]
  }

  def "nu-complete pidns run format" [] {
    [ "text" "json" ]
  }

  # Run a command and say what it leaves behind
  export extern "pidns run" [
    --deny: string@"nu-complete pidns run deny" # Exit with status 1 if CMD succeeds but leaves such a thing behind; may be given more than once, or as a list. By default nothing is denied
    --kill                    # Kill what is left: TERM, then, after the grace time once more, KILL
    --grace: string           # How long what CMD started may take to end after it
    --report: path            # Also write the report to this file
    --format(-f): string@"nu-complete pidns run format" # Format of that file
    --quiet(-q)               # Do not report on standard error
    --help(-h)                # Print help (see more with '--help')
    ...command: string        # The command, and its arguments
  ]

  def "nu-complete pidns schema of" [] {
    [ "document" "translation" "diff" "diff-record" "check" "check-record" "run" "policy" ]
  }

  # Print the JSON Schema of what json (and yaml) hold
  export extern "pidns schema" [
    --help(-h)                # Print help (see more with '--help')
    of?: string@"nu-complete pidns schema of" # Of the document, or of what another command prints
  ]

  def "nu-complete pidns completions shell" [] {
    [ "bash" "zsh" "fish" "elvish" "nushell" ]
  }

  # Print a completion script
  export extern "pidns completions" [
    --help(-h)                # Print help (see more with '--help')
    shell: string@"nu-complete pidns completions shell" # The shell to complete for
  ]

  # Print the manual page, for man -l -
  export extern "pidns man" [
    --help(-h)                # Print help
  ]

}

export use completions *
