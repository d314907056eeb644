// A target for the tests: it answers puts in whatever way a test asks for, over a real socket.

import Logging
import NIOCore
import NIOPosix
import Protocol
import SwiftProtobuf
import Synchronization
import Wire
import Workloads

/// How the n-th put, counted from 1, is answered.
enum PutReply: Sendable {
  case revision(Int64)
  case error(RPCStatus)
  case withoutHeader
  /// Never.
  case none
}

final class PutServer: Sendable {
  let wire: WireServer
  let port: Int
  private let received: Counter

  private final class Counter: Sendable {
    let value = Atomic<Int64>(0)
  }

  /// Puts that have arrived.
  var puts: Int64 { received.value.load(ordering: .relaxed) }

  var endpoint: String { "127.0.0.1:\(port)" }

  private init(wire: WireServer, received: Counter) {
    self.wire = wire
    self.received = received
    port = wire.localAddress.port ?? 0
  }

  static func start(port: Int = 0, reply: @escaping @Sendable (Int64) -> PutReply) async throws -> PutServer {
    let received = Counter()
    let routes = RPCRoutes([
      RPCPath.KV.put: .unary { call, _ in
        let number = received.value.add(1, ordering: .relaxed).newValue
        switch reply(number) {
        case .revision(let revision):
          call.respond(
            Etcdserverpb_PutResponse.with {
              $0.header.clusterID = .max
              $0.header.revision = revision
              $0.header.raftTerm = 2
            })
        case .withoutHeader: call.respond(Etcdserverpb_PutResponse())
        case .error(let status): call.fail(status)
        case .none: break
        }
      },
      RPCPath.Maintenance.status: .unary { call, _ in
        call.respond(
          Etcdserverpb_StatusResponse.with {
            $0.version = "9.9.9"
            $0.header.clusterID = 0xCDF8_1819_4E3A_8C32
          })
      },
    ])
    let wire = try await WireServer.start(
      host: "127.0.0.1", port: port, group: MultiThreadedEventLoopGroup.singleton, router: routes,
      http: { _, eventLoop in eventLoop.makeSucceededFuture(HTTPReply(status: 404, text: "")) },
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    return PutServer(wire: wire, received: received)
  }

  func stop() async { await wire.shutdown(grace: .zero) }
}

/// Runs a body against a server that is stopped afterwards, whatever happens.
func withPutServer<Value>(
  reply: @escaping @Sendable (Int64) -> PutReply = { .revision($0 + 1) }, _ body: (PutServer) async throws -> Value
) async throws -> Value {
  let server = try await PutServer.start(reply: reply)
  do {
    let value = try await body(server)
    await server.stop()
    return value
  } catch {
    await server.stop()
    throw error
  }
}

/// Why a run could not be made, or nil when it could.
func refusal(of options: LoadOptions) async -> WorkloadError? {
  do throws(WorkloadError) {
    _ = try await runLoad(options)
    return nil
  } catch {
    return error
  }
}
