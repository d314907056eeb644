// Abuse of a real node's two ports, with puts all the while.

import Foundation
import Glibc
import NIOCore
import NIOPosix
import Testing
import Wire

@Suite("ports under abuse", .serialized, .timeLimit(.minutes(3)))
struct PortAbuseTests {
  @Test("strangers at the peer port, silent or loud, keep no peer out and fill no log")
  func strangers() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let peer = nodes.peerURL("a").dropFirst("http://".count)
    var silent: [any Channel] = []
    for _ in 0..<200 { silent.append(try await Self.connect(peer)) }
    // All but 64 of them were pushed out by those that came later.
    for channel in silent.prefix(136) { try await channel.closeFuture.get() }
    for number in 0..<60 {
      let loud = try await Self.connect(peer)
      var garbage = ByteBuffer()
      if number % 3 == 0 {
        garbage.writeString("GET / HTTP/1.1\r\n\r\n")
      } else if number % 3 == 1 {
        // A frame as long as the longest between peers.
        garbage.writeInteger(UInt32(16 << 20), endianness: .little)
        garbage.writeInteger(UInt32(0))
      } else {
        garbage.writeRepeatingByte(0, count: 100_000)
      }
      try? await loud.writeAndFlush(garbage).get()
      try await loud.closeFuture.get()
    }
    // A member that comes back is let in beside them.
    await nodes.kill("b")
    try nodes.restart("b")
    try await nodes.ready("b")
    await nodes.kill("c")
    // The two that are left must hear each other to commit anything. What was on its way to a leader that is gone times out.
    try await withConnection(nodes.client("b")) { connection in
      while (try? await connection.put("still")) == nil { try Task.checkCancellation() }
    }
    let lines = try nodes.program("a").errors.components(separatedBy: "a peer's connection is closed").count - 1
    #expect((1...20).contains(lines), "\(lines) lines about strangers")
    for channel in silent { channel.close(promise: nil) }
    await nodes.stop()
  }

  @Test("with every descriptor taken by idle connections, a node says so once, does not spin, and goes on accepting")
  func descriptors() async throws {
    let directory = try ScratchDirectory()
    let ports = Ports.free(2)
    let address = "127.0.0.1:\(ports[0])"
    // The limit is one that the node cannot raise. A node of itself needs a few dozen.
    let program = try RunningProgram(
      [
        "-c",
        "ulimit -n 128 && exec \"$0\" core --name a --data-dir '\(directory("a"))' --listen-client-urls http://\(address)"
          + " --listen-peer-urls http://127.0.0.1:\(ports[1]) --initial-cluster a=http://127.0.0.1:\(ports[1])"
          + " --max-connections 100000 --log-level warning",
        Program.path,
      ], executable: "/bin/bash")
    try await program.waitForOutput("is ready")
    var idle: [any Channel] = []
    for _ in 0..<200 { idle.append(try await Self.connect(address)) }
    try await program.waitForErrors("cannot be accepted")
    let before = try Self.processorSeconds(program.processID)
    let waited = ContinuousClock.now
    // Those that say nothing are asked to go, so this one's turn comes.
    _ = try await withConnection(address) { try await $0.put("in the end") }
    let spent = try Self.processorSeconds(program.processID) - before
    let seconds = (ContinuousClock.now - waited) / .seconds(1)
    #expect(spent < 0.3 * seconds + 0.5, "\(spent) s of processor in \(seconds) s")
    #expect(program.errors.components(separatedBy: "cannot be accepted").count == 2, "\(program.errors)")
    for channel in idle { channel.close(promise: nil) }
    program.send(SIGTERM)
    #expect(await program.exitCode() == 0)
  }

  private static func connect(_ address: some StringProtocol) async throws -> any Channel {
    let parts = address.split(separator: ":")
    return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(host: String(parts[0]), port: try #require(Int(parts[1]))).get()
  }

  /// What a process has used of the processor, in all of its threads.
  private static func processorSeconds(_ process: pid_t) throws -> Double {
    let text = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
    let fields = try #require(text.split(separator: ")").last).split(separator: " ")
    let ticks = try #require(Double(fields[11])) + (try #require(Double(fields[12])))
    return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }
}
