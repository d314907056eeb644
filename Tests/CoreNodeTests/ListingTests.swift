// Streaming lists on a node in this process, whose bounds a test can choose.

import CoordinationCore
import CoreNode
import Foundation
import Logging
import NIOCore
import NIOPosix
import Protocol
import Synchronization
import Testing
import Wire

@Suite("A streaming list", .serialized)
struct ListingTests {
  @Test("is of one revision in all of its pages, and says that it is complete")
  func pages() async throws {
    try await withNode { _, connection in
      let revision = try await put(2000, bytes: 100, on: connection)
      var request = Portcullis_V1_ListRequest()
      (request.key, request.rangeEnd, request.pageBytes) = (Data("key".utf8), Data([0]), 4096)
      let list = Listener(deletingOn: connection)
      try await list.run(request, on: connection)
      await list.deletion()
      let pages = list.pages
      #expect(pages.count > 40 && pages.allSatisfy { $0.revision == revision && $0.evidence.revision == revision })
      #expect(pages.dropLast().allSatisfy { !$0.hasEnd } && pages.last?.end.count == 2000)
      let keys = pages.flatMap(\.kvs).map { String(decoding: $0.key, as: UTF8.self) }
      #expect(keys == (0..<2000).map(Self.name))
      #expect(pages.flatMap(\.kvs).allSatisfy { $0.value.count == 100 })
      // All of it was deleted while it was listed; the old revision can still be listed, without values.
      (request.revision, request.keysOnly, request.maxModRevision) = (revision, true, revision - 1000)
      let old = Listener()
      try await old.run(request, on: connection)
      #expect(old.pages.last?.end.count == 1000 && old.pages.flatMap(\.kvs).allSatisfy { $0.value.isEmpty })
      request.revision = 0
      let now = Listener()
      try await now.run(request, on: connection)
      #expect(now.pages.count == 1 && now.pages.last?.end.count == 0)
    }
  }

  @Test("is refused as a range is")
  func refused() async throws {
    try await withNode { _, connection in
      _ = try await put(5, bytes: 1, on: connection)
      var request = Portcullis_V1_ListRequest()
      await #expect { try await Listener().run(request, on: connection) } throws: {
        ($0 as? RPCStatus)?.message == "etcdserver: key is not provided"
      }
      (request.key, request.revision) = (Data("key".utf8), 99)
      await #expect { try await Listener().run(request, on: connection) } throws: {
        ($0 as? RPCStatus)?.message == "etcdserver: mvcc: required revision is a future revision"
      }
    }
  }

  @Test("that nobody takes is let go of, and holds up no other for longer than that")
  func stalled() async throws {
    try await withNode { limits in
      limits.maxStateHolds = 1
      limits.stateHoldStallMilliseconds = 1000
    } _: { node, connection in
      _ = try await put(64, bytes: 256 << 10, on: connection)
      let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
      let other = try await WireConnection.connect(host: "127.0.0.1", port: node.clientPort, on: group.next()).get()
      var request = Portcullis_V1_ListRequest()
      (request.key, request.rangeEnd) = (Data("key".utf8), Data([0]))
      let gate = DispatchSemaphore(value: 0)
      let slow = Listener(blockedBy: gate)
      async let end: Void = slow.run(request, on: other)
      await slow.first()
      // One at a time: the next is refused until the one that takes nothing is let go of.
      var refusals = 0
      while true {
        do {
          let next = Listener()
          try await next.run(request, on: connection)
          #expect(next.pages.last?.end.count == 64)
          break
        } catch let status as RPCStatus {
          try #require(status.code == .resourceExhausted, "\(status)")
          refusals += 1
        }
      }
      #expect(refusals > 0)
      gate.signal()
      do {
        try await end
        Issue.record("a list that was not taken came to its end")
      } catch let status as RPCStatus {
        #expect(status.code == .deadlineExceeded && status.message.contains("nothing was taken"), "\(status)")
      }
      #expect(slow.pages.allSatisfy { !$0.hasEnd })
      other.close()
      try await group.shutdownGracefully()
    }
  }

  // MARK: A node and its calls

  private static func name(_ index: Int) -> String { "key " + String(10_000 + index) }

  private func withNode(
    _ change: (inout NodeLimits) -> Void = { _ in }, _ body: (CoreNode, WireConnection) async throws -> Void
  ) async throws {
    let directory = try Sample.Directory()
    var configuration = NodeConfiguration(
      name: "default", dataDirectory: directory("node"), clientHost: "127.0.0.1", clientPort: 0,
      peers: [Peer(name: "default", host: "127.0.0.1", port: 2380)])
    configuration.clusterToken = nil
    configuration.listensForPeers = false
    change(&configuration.limits)
    let node = try await CoreNode.start(
      configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, onEnd: { _ in })
    try await node.waitUntilReady()
    let connection = try await WireConnection.connect(
      host: "127.0.0.1", port: node.clientPort, on: MultiThreadedEventLoopGroup.singleton.next()
    ).get()
    do {
      try await body(node, connection)
    } catch {
      connection.close()
      await node.stop()
      throw error
    }
    connection.close()
    await node.stop()
  }

  /// - Returns: the revision of the last.
  private func put(_ count: Int, bytes: Int, on connection: WireConnection) async throws -> Int64 {
    var revision: Int64 = 0
    for index in 0..<count {
      var request = Etcdserverpb_PutRequest()
      request.key = Data(Self.name(index).utf8)
      request.value = Data(repeating: UInt8(index % 251), count: bytes)
      let response = try await connection.unary(RPCPath.KV.put, request, as: Etcdserverpb_PutResponse.self)
      revision = response.header.revision
    }
    return revision
  }

  /// What a list brings.
  private final class Listener: ClientStreamHandler {
    private struct State {
      var pages: [Portcullis_V1_ListResponse] = []
      var first: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())
    private let ends: AsyncStream<RPCStatus>
    private let feed: AsyncStream<RPCStatus>.Continuation
    private let gate: DispatchSemaphore?
    /// Comes to its end when everything is deleted.
    private let deletions = AsyncStream<Void>.makeStream()
    private let deleting: WireConnection?

    /// - Parameters:
    ///   - gate: keeps the connection's thread from reading on after the first page until somebody signals.
    ///   - connection: on which all keys are deleted when the first page is there.
    init(blockedBy gate: DispatchSemaphore? = nil, deletingOn connection: WireConnection? = nil) {
      (ends, feed) = AsyncStream.makeStream()
      self.gate = gate
      deleting = connection
    }

    var pages: [Portcullis_V1_ListResponse] { state.withLock { $0.pages } }

    func received(_ message: ByteBuffer) {
      guard let page = try? Portcullis_V1_ListResponse(received: message) else { return }
      let (isFirst, waiter) = state.withLock { state -> (Bool, CheckedContinuation<Void, Never>?) in
        state.pages.append(page)
        defer { state.first = nil }
        return (state.pages.count == 1, state.first)
      }
      waiter?.resume()
      guard isFirst else { return }
      gate?.wait()
      if let deleting {
        var request = Etcdserverpb_DeleteRangeRequest()
        (request.key, request.rangeEnd) = (Data("key".utf8), Data([0]))
        let bytes: [UInt8] = (try? request.serializedBytes()) ?? []
        deleting.unary(RPCPath.KV.deleteRange, ByteBuffer(bytes: bytes)) { [deletions] _ in
          deletions.continuation.finish()
        }
      }
    }

    func closed(_ status: RPCStatus) {
      feed.yield(status)
      feed.finish()
    }

    /// Returns when everything is deleted.
    func deletion() async {
      for await _ in deletions.stream {}
    }

    /// Returns when a page is there.
    func first() async {
      await withCheckedContinuation { continuation in
        let isThere = state.withLock { state in
          if state.pages.isEmpty { state.first = continuation }
          return !state.pages.isEmpty
        }
        if isThere { continuation.resume() }
      }
    }

    func run(_ request: Portcullis_V1_ListRequest, on connection: WireConnection) async throws {
      let stream = connection.openStream(RPCPath.Listing.list, handler: self)
      try stream.send(request)
      var iterator = ends.makeAsyncIterator()
      let status = await iterator.next() ?? RPCStatus(.unknown, "no end")
      if status.code != .ok { throw status }
    }
  }
}
