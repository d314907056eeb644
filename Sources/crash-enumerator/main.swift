// Cuts the power, as far as a program can: records the system calls of a run against the real log, enumerates the states
// in which a power cut may leave the disk, opens each and checks what was promised. docs/crash-testing.md explains it.

import Glibc

do {
  let command = try Arguments(CommandLine.arguments.dropFirst())
  exit(try command.run())
} catch {
  print("crash-enumerator: \(error)")
  exit(64)
}
