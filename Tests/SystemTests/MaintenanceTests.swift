// etcd's Maintenance and gRPC's health service, as operators' tools call them.

import Foundation
import NIOCore
import Protocol
import Synchronization
import Testing
import Wire

@Suite("the Maintenance and health services", .serialized)
struct MaintenanceTests {
  @Test("members sum up their stores alike, at the newest and at an older revision")
  func hashes() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    for step in 0..<20 { try await put("key \(step % 7)", "value \(step)", at: nodes.client("a")) }
    let newest = try await range("key 0", at: nodes.client("a")).header.revision
    // A linearizable read shows that the member has applied everything.
    for name in ["a", "b", "c"] { _ = try await range("key 0", at: nodes.client(name)) }
    for revision in [newest - 5, newest, 0] {
      var hashes: Set<UInt32> = []
      for name in ["a", "b", "c"] {
        let answer = try await hash(revision, at: nodes.client(name))
        #expect(answer.hashRevision == (revision == 0 ? newest : revision))
        hashes.insert(answer.hash)
      }
      #expect(hashes.count == 1)
    }
    #expect(try await hash(newest - 5, at: nodes.client("a")).hash != hash(0, at: nodes.client("a")).hash)
    await #expect { _ = try await hash(newest + 1, at: nodes.client("a")) } throws: {
      ($0 as? RPCStatus)?.message == "etcdserver: mvcc: required revision is a future revision"
    }
    await nodes.stop()
  }

  @Test("etcdctl's endpoint hashkv, defrag and move-leader", .enabled(if: Clients.etcdctl != nil))
  func etcdctl() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let etcdctl = Etcdctl(endpoints: nodes.endpoints)
    _ = try await etcdctl.output("put", "key", "value")
    for name in ["a", "b", "c"] { _ = try await range("key", at: nodes.client(name)) }
    let lines = try await etcdctl.output("endpoint", "hashkv").split(separator: "\n")
    #expect(lines.count == 3 && Set(lines.map { $0.split(separator: " ").last }).count == 1)
    #expect(try await etcdctl.output("defrag").split(separator: "\n").count == 3)
    await nodes.stop()
  }

  @Test("an alarm that was raised is in force on all members, also after a restart, until it is disarmed")
  func alarms() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    let raised = try await alarm(.activate, .nospace, at: nodes.client("a"))
    #expect(raised.map(\.alarm) == [.nospace] && raised.map(\.memberID) == [0])
    for name in ["a", "b", "c"] { await nodes.kill(name) }
    for name in ["a", "b", "c"] { try nodes.restart(name) }
    for name in ["a", "b", "c"] { try await nodes.ready(name) }
    #expect(try await alarm(.get, .none, at: nodes.client("b")).map(\.alarm) == [.nospace])
    #expect(try await alarm(.get, .corrupt, at: nodes.client("b")).isEmpty)
    await #expect { try await put("key", "value", at: nodes.client("c")) } throws: {
      ($0 as? RPCStatus)?.message == "etcdserver: mvcc: database space exceeded"
        && ($0 as? RPCStatus)?.code == .resourceExhausted
    }
    #expect(try await alarm(.deactivate, .nospace, at: nodes.client("c")).count == 1)
    try await put("key", "value", at: nodes.client("a"))
    await nodes.stop()
  }

  @Test("history that is older than wanted goes by itself")
  func autoCompaction() async throws {
    let nodes = try Nodes("--auto-compaction-retention", "500ms")
    try await nodes.found("a", "b", "c")
    for step in 0..<20 { try await put("key", "value \(step)", at: nodes.client("a")) }
    for name in ["a", "b", "c"] { try await nodes.wait(for: "portcullis_compacted_revision", of: name) { $0 > 10 } }
    #expect(try await range("key", at: nodes.client("b")).kvs.first?.value == Data("value 19".utf8))
    await nodes.stop()
  }

  @Test("a snapshot is a whole file to etcdctl, with every version", .enabled(if: Clients.etcdctl != nil))
  func snapshot() async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    let etcdctl = Etcdctl(endpoints: nodes.client("a"))
    for step in 0..<40 {
      try await put("key \(step % 7)", String(repeating: "v", count: step * 300), at: nodes.client("a"))
    }
    _ = try await etcdctl.output("compact", "20")
    _ = try await etcdctl.output("del", "key 3")
    _ = try await etcdctl.output("lease", "grant", "60")
    let file = nodes.directory("backup.db")
    _ = try await etcdctl.output("snapshot", "save", file)
    let fields = try await etcdctl.output("snapshot", "status", file).split(separator: ",")
    let revision = try await range("key 0", at: nodes.client("a")).header.revision
    #expect(fields.count == 4 && fields[1].trimmingCharacters(in: .whitespaces) == "\(revision)")
    let restored = nodes.directory("restored")
    _ = try await etcdctl.output("snapshot", "restore", file, "--data-dir", restored)
    // One byte is another, and etcdctl finds out.
    let handle = try #require(FileHandle(forUpdatingAtPath: file))
    try handle.seek(toOffset: 20_000)
    try handle.write(contentsOf: Data([0xAA]))
    let damaged = try await etcdctl.run("snapshot", "restore", file, "--data-dir", nodes.directory("damaged"))
    #expect(damaged.exitCode != 0)
    await nodes.stop()
  }

  @Test("the health service says when a node loses its leader, and when it has one again")
  func health() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    try await withConnection(nodes.client("a")) { connection in
      let check = try await connection.unary(
        RPCPath.Health.check, Grpc_Health_V1_HealthCheckRequest(), as: Grpc_Health_V1_HealthCheckResponse.self)
      #expect(check.status == .serving)
      let heard = Heard()
      let stream = connection.openStream(RPCPath.Health.watch, handler: heard)
      try stream.send(Grpc_Health_V1_HealthCheckRequest())
      #expect(try await heard.next() == .serving)
      for name in ["b", "c"] { await nodes.kill(name) }
      #expect(try await heard.next() == .notServing)
      for name in ["b", "c"] { try nodes.restart(name) }
      #expect(try await heard.next() == .serving)
      stream.cancel()
      await #expect { try await checkUnknown(connection) } throws: { ($0 as? RPCStatus)?.code == .notFound }
    }
    await nodes.stop()
  }

  private func checkUnknown(_ connection: WireConnection) async throws {
    var request = Grpc_Health_V1_HealthCheckRequest()
    request.service = "no such service"
    _ = try await connection.unary(RPCPath.Health.check, request, as: Grpc_Health_V1_HealthCheckResponse.self)
  }

  @Test("with hasleader, calls and streams end where there is no leader, and without it streams wait")
  func requiredLeader() async throws {
    let nodes = try Nodes()
    try await nodes.found("a", "b", "c")
    try await withConnection(nodes.client("a")) { connection in
      let metadata = [("hasleader", "true")]
      let (asking, waiting) = (Ending(), Ending())
      for (ending, metadata) in [(asking, metadata), (waiting, [])] {
        var request = Etcdserverpb_WatchRequest()
        request.createRequest.key = Data("key".utf8)
        let stream = connection.openStream(RPCPath.Watch.watch, metadata: metadata, handler: ending)
        try stream.send(request)
      }
      for name in ["b", "c"] { await nodes.kill(name) }
      let status = await asking.status()
      #expect(status.code == .unavailable && status.message == "etcdserver: no leader")
      #expect(!waiting.hasEnded)
      await #expect {
        var request = Etcdserverpb_RangeRequest()
        request.key = Data("key".utf8)
        request.serializable = true
        _ = try await connection.unary(
          RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, metadata: metadata)
      } throws: {
        ($0 as? RPCStatus)?.message == "etcdserver: no leader"
      }
    }
    await nodes.stop()
  }

  /// How a stream ends.
  private final class Ending: ClientStreamHandler {
    private let ends: AsyncStream<RPCStatus>
    private let feed: AsyncStream<RPCStatus>.Continuation
    private let ended = Mutex(false)

    init() { (ends, feed) = AsyncStream.makeStream() }

    var hasEnded: Bool { ended.withLock { $0 } }

    func received(_ message: ByteBuffer) {}

    func closed(_ status: RPCStatus) {
      ended.withLock { $0 = true }
      feed.yield(status)
      feed.finish()
    }

    func status() async -> RPCStatus {
      var iterator = ends.makeAsyncIterator()
      return await iterator.next() ?? .ok
    }
  }

  /// What a watcher of the health hears, in order.
  private final class Heard: ClientStreamHandler {
    private let values: AsyncThrowingStream<Grpc_Health_V1_HealthCheckResponse.ServingStatus, any Error>
    private let feed: AsyncThrowingStream<Grpc_Health_V1_HealthCheckResponse.ServingStatus, any Error>.Continuation

    init() { (values, feed) = AsyncThrowingStream.makeStream() }

    func received(_ message: ByteBuffer) {
      guard let response = try? Grpc_Health_V1_HealthCheckResponse(received: message) else { return }
      feed.yield(response.status)
    }

    func closed(_ status: RPCStatus) { feed.finish(throwing: status) }

    func next() async throws -> Grpc_Health_V1_HealthCheckResponse.ServingStatus? {
      var iterator = values.makeAsyncIterator()
      return try await iterator.next()
    }
  }

  // MARK: Calls

  private func put(_ key: String, _ value: String, at endpoint: String) async throws {
    var request = Etcdserverpb_PutRequest()
    request.key = Data(key.utf8)
    request.value = Data(value.utf8)
    try await withConnection(endpoint) { [request] connection in
      _ = try await connection.unary(RPCPath.KV.put, request, as: Etcdserverpb_PutResponse.self)
    }
  }

  private func range(_ key: String, at endpoint: String) async throws -> Etcdserverpb_RangeResponse {
    var request = Etcdserverpb_RangeRequest()
    request.key = Data(key.utf8)
    return try await withConnection(endpoint) { [request] connection in
      try await connection.unary(RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self)
    }
  }

  private func alarm(
    _ action: Etcdserverpb_AlarmRequest.AlarmAction, _ kind: Etcdserverpb_AlarmType, at endpoint: String
  ) async throws -> [Etcdserverpb_AlarmMember] {
    var request = Etcdserverpb_AlarmRequest()
    request.action = action
    request.alarm = kind
    return try await withConnection(endpoint) { [request] connection in
      try await connection.unary(RPCPath.Maintenance.alarm, request, as: Etcdserverpb_AlarmResponse.self).alarms
    }
  }

  private func hash(_ revision: Int64, at endpoint: String) async throws -> Etcdserverpb_HashKVResponse {
    var request = Etcdserverpb_HashKVRequest()
    request.revision = revision
    return try await withConnection(endpoint) { [request] connection in
      try await connection.unary(RPCPath.Maintenance.hashKV, request, as: Etcdserverpb_HashKVResponse.self)
    }
  }
}
