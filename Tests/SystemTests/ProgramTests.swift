// What the tests' own way of starting programs must keep to, since every other test here relies on it.

import Foundation
import Glibc
import Testing

@Suite("programs that tests start")
struct ProgramTests {
  /// A connection that is open in one more process does not end when it is closed: whoever is at its other end hears
  /// nothing of it.
  @Test("a program gets its three streams, and nothing else that is open in the tests")
  func inheritsNothing() async throws {
    let kept = dup(STDERR_FILENO)
    try #require(kept > 2)
    defer { close(kept) }
    try #require(fcntl(kept, F_GETFD) & FD_CLOEXEC == 0, "this one would be inherited")
    let listed = try await Program.run(["/proc/self/fd"], executable: "/bin/ls")
    #expect(listed.exitCode == 0, "\(listed.errors)")
    // The fourth is the directory itself, which `ls` reads.
    #expect(listed.output.split(separator: "\n") == ["0", "1", "2", "3"])
  }
}
