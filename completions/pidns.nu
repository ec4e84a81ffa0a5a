module completions {

  def "nu-complete pidns search" [] {
    [ "processes" "children" "threads" "fds" "mounts" "all" ]
  }

  def "nu-complete pidns format" [] {
    [ "text" "json" "yaml" "dot" ]
  }

  def "nu-complete pidns color" [] {
    [ "auto" "always" "never" ]
  }

  # Show the PID namespace hierarchy of a Linux host
  export extern pidns [
    --search: string@"nu-complete pidns search" # Where to look for namespaces: a list of processes, children (every process's pid_for_children), threads (every thread's, and tables of its own), fds and mounts; or all
    --procfs: directory       # The procfs to read, such as a host's /proc bound into a container
    --input(-i): path         # Read a saved document, JSON or YAML, instead of the live kernel; - is standard input
    --format(-f): string@"nu-complete pidns format" # Output format
    --pretty                  # Indent JSON even when it does not go to a terminal
    --color: string@"nu-complete pidns color" # When to colour text; NO_COLOR and CLICOLOR are respected
    --ascii                   # Draw text with lines and arrows in ASCII
    --strict                  # Exit with status 3 if the view is incomplete
    --quiet(-q)               # No warnings on standard error
    --help(-h)                # Print help (see more with '--help')
    --version(-V)             # Print version
  ]

  # Print the JSON Schema of the document that json and yaml hold
  export extern "pidns schema" [
    --help(-h)                # Print help
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
