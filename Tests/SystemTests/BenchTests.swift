// `portcullis bench put` against our own core.

import Foundation
import Testing

@Suite("bench", .serialized)
struct BenchTests {
  @Test(
    "closed and open loop against one node give valid figures",
    arguments: [
      ["--clients", "16", "--connections", "4"], ["--rate", "500", "--connections", "2"],
    ])
  func runs(shape: [String]) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    let outcome = try await serving.run(
      ["bench", "put", "--duration", "1s", "--warm-up", "200ms", "--output", "json"] + shape)
    let result = try JSONDecoder().decode(Result.self, from: Data(outcome.output.utf8))
    #expect(result.schema == "portcullis.bench/1")
    #expect(result.measured.succeeded > 100)
    #expect(result.measured.failed == 0)
    await serving.stop()
  }

  @Test("an unreachable target is one clear line")
  func unreachable() async throws {
    let port = Ports.free(1)[0]
    let outcome = try await Program.run(["bench", "put", "--endpoints", "127.0.0.1:\(port)", "--duration", "1s"])
    #expect(outcome.exitCode == 69)
    #expect(outcome.errors.contains("127.0.0.1:\(port)"))
  }

  private struct Result: Decodable {
    struct Figures: Decodable {
      let succeeded: UInt64
      let failed: UInt64
    }
    let schema: String
    let measured: Figures
  }
}
