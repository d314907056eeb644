// Tokens as others verify them: PyJWT, told nothing but the address of the key set.

import Foundation
import Testing

@Suite("tokens", .enabled(if: Clients.hasPyJWT, "PyJWT with cryptography (PyPI) is not there"))
struct TokenTests {
  @Test("PyJWT verifies one against the served key set and refuses a changed one")
  func pyJWT() async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("verify_token.py")
    let outcome = try await Program.run(
      ["acquire", "demo", "--holder", "anna", "--", "python3", script.path, "http://\(serving.core)"],
      environment: serving.environment.merging(["PYTHONPATH": Clients.pythonPath]) { $1 })
    #expect(outcome.exitCode == 0, "\(outcome.errors)")
    #expect(outcome.output.contains("demo anna"), "\(outcome.output)")
    #expect(outcome.output.contains("changed token refused"))
    await serving.stop()
  }
}
