// Tests that a target which answers wrongly is found out: each scenario against a server that tells one lie.

import Foundation
import Logging
import Measurement
import NIOCore
import NIOPosix
import Protocol
import SwiftProtobuf
import Synchronization
import Testing
import Wire
import Workloads

@Suite struct OracleTests {
  private static let lies: [(String, OperationSetting)] = [
    ("was found 0 times", .get(isSerializable: false)),
    ("was found 0 times", .get(isSerializable: true)),
    ("for a write that was sent after", .compareAndSwap(zipfExponent: 1)),
    ("put before the load, 0 were found", .list(limit: 5)),
    ("was granted at revision 5 after 5", .lock(names: 1, holdNanoseconds: 0)),
    ("which was renewed in time", .renew(leases: 3, timeToLiveSeconds: 60)),
    ("an event of revision 7 after one of 7", .watch(watchers: 2)),
    ("was found 0 times", .mix([MixPart(operation: .get(isSerializable: false), weight: 1)])),
  ]

  @Test("a wrong answer fails the run, and the report has the first of them", arguments: lies)
  func lie(words: String, operation: OperationSetting) async throws {
    try await withLiar { endpoint in
      var options = LoadOptions()
      options.endpoints = [endpoint]
      options.operation = operation
      options.shape = .closed(clients: 4)
      options.keyCount = 20
      options.duration = nil
      options.totalOperations = 40
      options.warmUp = .none
      let result = try await runLoad(options)
      #expect(result.judgement.verdict == .failed)
      #expect(result.measured.oracle.violations > 0)
      #expect(result.measured.oracle.firstViolation?.contains(words) == true, "\(result.measured.oracle)")
    }
  }

  @Test(
    "a lock that two clients hold at once fails the run, however well its grants are ordered", arguments: [true, false])
  func lockHeldTwice(isLying: Bool) async throws {
    let revision = Atomics()
    let held = LockQueue()
    let routes = RPCRoutes([
      RPCPath.Lock.lock: .unary { call, _ in
        let grant: @Sendable () -> Void = {
          call.eventLoop.execute { call.respond(V3lockpb_LockResponse.with { $0.header.revision = revision.next() }) }
        }
        if isLying { grant() } else { held.wait(grant) }
      },
      RPCPath.Lock.unlock: .unary { call, _ in
        if !isLying { held.next() }
        call.respond(V3lockpb_UnlockResponse())
      },
      RPCPath.Lease.leaseGrant: .unary { call, _ in
        call.respond(Etcdserverpb_LeaseGrantResponse.with { $0.id = revision.next() })
      },
      RPCPath.Lease.leaseRevoke: .unary { call, _ in call.respond(Etcdserverpb_LeaseRevokeResponse()) },
    ])
    try await withServer(routes) { endpoint in
      var options = LoadOptions()
      options.endpoints = [endpoint]
      options.operation = .lock(names: 1, holdNanoseconds: 2_000_000)
      options.shape = .closed(clients: 4)
      options.connections = 2
      options.duration = nil
      options.totalOperations = 60
      options.warmUp = .none
      let oracle = try await runLoad(options).measured.oracle
      #expect(oracle.checked == 60)
      #expect((oracle.violations > 0) == isLying, "\(oracle)")
      if isLying { #expect(oracle.firstViolation?.contains("had held it for") == true, "\(oracle)") }
    }
  }

  /// One lock, as it should be: the next is granted when the one before is given back.
  private final class LockQueue: Sendable {
    private struct State {
      var isHeld = false
      var waiting: [@Sendable () -> Void] = []
    }
    private let state = Mutex(State())

    func wait(_ grant: @escaping @Sendable () -> Void) {
      let isFree = state.withLock { state in
        defer { state.isHeld = true }
        if state.isHeld { state.waiting.append(grant) }
        return !state.isHeld
      }
      if isFree { grant() }
    }

    func next() {
      let grant = state.withLock { state -> (@Sendable () -> Void)? in
        state.isHeld = !state.waiting.isEmpty
        return state.waiting.isEmpty ? nil : state.waiting.removeFirst()
      }
      grant?()
    }
  }

  /// Puts and grants are answered as they should be; what else is asked for is answered with the same, whatever has been done.
  private func withLiar(_ body: (String) async throws -> Void) async throws {
    let (revision, puts) = (Atomics(), Puts())
    let routes = RPCRoutes([
      RPCPath.KV.put: .unary { call, message in
        puts.add(message)
        call.respond(Etcdserverpb_PutResponse.with { $0.header.revision = revision.next() })
      },
      RPCPath.KV.range: .unary { call, _ in
        call.respond(Etcdserverpb_RangeResponse.with { $0.header.revision = revision.next() })
      },
      RPCPath.KV.txn: .unary { call, _ in
        call.respond(
          Etcdserverpb_TxnResponse.with {
            $0.header.revision = 3
            $0.succeeded = true
          })
      },
      RPCPath.Lock.lock: .unary { call, _ in
        call.respond(V3lockpb_LockResponse.with { $0.header.revision = 5 })
      },
      RPCPath.Lock.unlock: .unary { call, _ in call.respond(V3lockpb_UnlockResponse()) },
      RPCPath.Lease.leaseGrant: .unary { call, _ in
        call.respond(Etcdserverpb_LeaseGrantResponse.with { $0.id = revision.next() })
      },
      RPCPath.Lease.leaseRevoke: .unary { call, _ in call.respond(Etcdserverpb_LeaseRevokeResponse()) },
      RPCPath.Lease.leaseKeepAlive: .streaming { LyingRenewals(call: $0) },
      RPCPath.Watch.watch: .streaming { LyingWatch(call: $0, puts) },
    ])
    try await withServer(routes, body)
  }

  private func withServer(_ routes: RPCRoutes, _ body: (String) async throws -> Void) async throws {
    let server = try await WireServer.start(
      host: "127.0.0.1", port: 0, group: MultiThreadedEventLoopGroup.singleton, router: routes,
      http: { _, eventLoop in eventLoop.makeSucceededFuture(HTTPReply(status: 404, text: "")) },
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    defer { Task { await server.shutdown(grace: .zero) } }
    try await body("127.0.0.1:\(server.localAddress.port ?? 0)")
  }

  private final class Atomics: Sendable {
    private let value = Atomic<Int64>(0)
    func next() -> Int64 { value.add(1, ordering: .relaxed).newValue }
  }

  private final class LyingRenewals: StreamHandler {
    private let call: StreamCall
    init(call: StreamCall) { self.call = call }

    func received(_ message: ByteBuffer) {
      guard let request = try? Etcdserverpb_LeaseKeepAliveRequest(received: message) else { return }
      _ = call.send(Etcdserverpb_LeaseKeepAliveResponse.with { $0.id = request.id })
    }
    func halfClosed() { call.finish() }
    func writable() {}
    func closed() {}
  }

  /// The values that were put, in order.
  private final class Puts: Sendable {
    private let values = Mutex<[Data]>([])

    func add(_ message: ByteBuffer) {
      guard let put = try? Etcdserverpb_PutRequest(received: message) else { return }
      values.withLock { $0.append(put.value) }
    }
    func after(_ count: Int) -> [Data] { values.withLock { Array($0[count...]) } }
  }

  /// Tells each watcher of every put, all at one revision.
  private final class LyingWatch: StreamHandler {
    private let call: StreamCall
    private let puts: Puts
    private var watchers: Int64 = 0
    private var told = 0
    private var isOver = false

    init(call: StreamCall, _ puts: Puts) {
      (self.call, self.puts) = (call, puts)
      look()
    }

    func received(_ message: ByteBuffer) {
      watchers += 1
      let number = watchers
      _ = call.send(
        Etcdserverpb_WatchResponse.with {
          $0.watchID = number
          $0.created = true
        })
    }

    private func look() {
      guard !isOver else { return }
      for value in puts.after(told) {
        told += 1
        for watcher in 0..<watchers { tell(watcher + 1, value) }
      }
      call.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(1)) { self.look() }
    }

    private func tell(_ watcher: Int64, _ value: Data) {
      _ = call.send(
        Etcdserverpb_WatchResponse.with {
          $0.watchID = watcher
          $0.events = [
            .with {
              $0.kv.value = value
              $0.kv.modRevision = 7
            }
          ]
        })
    }

    func halfClosed() { call.finish() }
    func writable() {}
    func closed() { isOver = true }
  }
}
