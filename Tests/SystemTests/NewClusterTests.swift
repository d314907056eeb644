// What is left when a majority is gone for good.

import Foundation
import Testing

@Suite("forcing a new cluster", .serialized)
struct NewClusterTests {
  @Test("one node of three goes on alone, with its data, another cluster id and tokens of a higher incarnation")
  func force() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let put = try await hold("before", nodes.endpoints)
    #expect(put.incarnation == 1)
    for name in ["a", "b", "c"] { await nodes.kill(name) }

    try nodes.restart("a", "--force-new-cluster")
    try await nodes.ready("a")
    let forced = try nodes.program("a")
    #expect(forced.errors.contains("forced a new cluster"), "\(forced.errors)")
    let alone = nodes.client("a")
    #expect(try await nodes.members(alone).map(\.name) == ["a"])
    let after = try await hold("after", alone)
    #expect(after.incarnation == 2)
    #expect(after.number > put.number, "revisions go on where the log ended")

    // The others belong to a cluster that is no more.
    for name in ["b", "c"] { try nodes.restart(name) }
    try await nodes.program("b").waitForErrors("refused by a peer")
    #expect(try await nodes.members(alone).map(\.name) == ["a"])
    for name in ["b", "c"] { await nodes.kill(name) }

    // Without the flag it starts as any node, and may grow again.
    await nodes.stop("a")
    try nodes.restart("a")
    try await nodes.ready("a")
    #expect(try await hold("again", alone).incarnation == 2)
    try nodes.wipe("b")
    let added = try await nodes.run("member", "add", nodes.peerURL("b"), endpoints: alone)
    #expect(added.exitCode == 0, "\(added.errors)")
    try nodes.join("b", beside: "a")
    try await nodes.ready("b")
    await nodes.stop()
  }

  @Test("without a log there is nothing to force")
  func nothingThere() async throws {
    let directory = try ScratchDirectory()
    let outcome = try await Program.run([
      "core", "--data-dir", directory("data"), "--listen-peer-urls", "http://127.0.0.1:\(Ports.free(1)[0])",
      "--listen-client-urls", "http://127.0.0.1:\(Ports.free(1)[0])", "--force-new-cluster",
    ])
    #expect(outcome.exitCode == 1)
    #expect(outcome.errors.contains("--force-new-cluster"), "\(outcome.errors)")
  }

  /// Holds a scope for a moment and tells what the grant says.
  private func hold(_ scope: String, _ endpoints: String) async throws -> (incarnation: Int, number: Int) {
    let outcome = try await Program.run(
      ["acquire", scope, "--", "sh", "-c", "echo $PORTCULLIS_INCARNATION $PORTCULLIS_NUMBER"],
      environment: ["PORTCULLIS_ENDPOINTS": endpoints])
    try #require(outcome.exitCode == 0, "\(outcome.errors)")
    let numbers = outcome.output.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
    try #require(numbers.count == 2, "\(outcome.output)")
    return (numbers[0], numbers[1])
  }
}
