// One thing that is done to both servers, as a value: so that a story can be told again with parts of it left out.

import Foundation
import NIOCore
import Protocol
import SwiftProtobuf
import Wire

/// Everything that a step may be. A failing comparison prints the descriptions.
enum ComparedStep: Sendable, CustomStringConvertible {
  case call(ComparedCall)
  case keepAlive(lease: Int64)
  case watch(Etcdserverpb_WatchCreateRequest)
  case cancelWatch(Int64)
  case progress
  /// Waits until both servers have said all that they have to say on their watch streams, and compares that.
  case settle
  case compact(Int64, physical: Bool)
  case campaign(V3electionpb_CampaignRequest)
  /// A call with the `LeaderKey` that the last campaign under this lease was answered with.
  case leading(ComparedLeading, lease: Int64)
  /// Authenticates; later calls name the user, and each server is sent its own token.
  case login(user: String, password: String)

  var description: String {
    switch self {
    case .call(let call): call.description
    case .keepAlive(let lease): "LeaseKeepAlive ID: \(lease)"
    case .watch(let request): "Watch create { \(request.line) }"
    case .cancelWatch(let id): "Watch cancel { watch_id: \(id) }"
    case .progress: "Watch progress"
    case .settle: "(all events are awaited)"
    case .compact(let revision, let physical): "Compact revision: \(revision)\(physical ? " physical: true" : "")"
    case .campaign(let request): "Campaign \(request.line)"
    case .leading(let what, let lease): "\(what) with the leader key of lease \(lease)"
    case .login(let user, let password): "Authenticate name: \"\(user)\" password: \"\(password)\""
    }
  }
}

enum ComparedLeading: Sendable {
  case proclaim(Data)
  case resign
}

/// What came of a step.
struct ComparedOutcome: Sendable, Equatable {
  var text: String
  /// Of the answer's header.
  var revision: Int64?

  init(_ text: String, revision: Int64? = nil) {
    self.text = text
    self.revision = revision
  }

  init(_ status: RPCStatus) {
    text = "error \(status.code): \(status.message)"
  }

  init(_ answer: some ComparedAnswer) {
    revision = answer.hasHeader ? answer.header.revision : nil
    text = answer.masked().line
  }
}

/// A call with one message each way.
struct ComparedCall: Sendable, CustomStringConvertible {
  let name: String
  private let text: String
  /// Whose token goes with it.
  let user: String?
  private let send: @Sendable (WireConnection, [(String, String)]) async throws(RPCStatus) -> ComparedOutcome

  /// - Parameter adjust: masks what only the request tells is arbitrary.
  init<Request: SwiftProtobuf.Message & Sendable, Answer: ComparedAnswer>(
    _ path: String, _ request: Request, as: Answer.Type, user: String? = nil,
    adjust: @escaping @Sendable (inout Answer) -> Void = { _ in }
  ) {
    name = String(path.split(separator: "/").last ?? "")
    // An oversized value need not be read to be understood.
    let line = request.line
    text = line.count > 600 ? "\(line.prefix(300)) … (\(line.count) characters)" : line
    self.user = user
    send = { (connection, metadata) async throws(RPCStatus) in
      var answer = try await connection.unary(
        path, request, as: Answer.self, metadata: metadata, deadline: .now() + .seconds(20))
      adjust(&answer)
      return ComparedOutcome(answer)
    }
  }

  var description: String { "\(name) \(text)" + (user.map { " (as \($0))" } ?? "") }

  func perform(over connection: WireConnection, token: String?) async -> ComparedOutcome {
    do throws(RPCStatus) {
      return try await send(connection, token.map { [("token", $0)] } ?? [])
    } catch {
      return ComparedOutcome(error)
    }
  }
}

extension ComparedStep {
  static func call<Request: SwiftProtobuf.Message & Sendable, Answer: ComparedAnswer>(
    _ path: String, _ request: Request, as: Answer.Type, user: String? = nil,
    adjust: @escaping @Sendable (inout Answer) -> Void = { _ in }
  ) -> ComparedStep {
    .call(ComparedCall(path, request, as: Answer.self, user: user, adjust: adjust))
  }

  static func put(_ request: Etcdserverpb_PutRequest, user: String? = nil) -> ComparedStep {
    .call(RPCPath.KV.put, request, as: Etcdserverpb_PutResponse.self, user: user)
  }

  static func put(_ key: String, _ value: String, lease: Int64 = 0) -> ComparedStep {
    var request = Etcdserverpb_PutRequest()
    request.key = Data(key.utf8)
    request.value = Data(value.utf8)
    request.lease = lease
    return put(request)
  }

  static func range(_ request: Etcdserverpb_RangeRequest, user: String? = nil) -> ComparedStep {
    .call(RPCPath.KV.range, request, as: Etcdserverpb_RangeResponse.self, user: user) { $0.orderAlike(as: request) }
  }

  static func delete(_ request: Etcdserverpb_DeleteRangeRequest, user: String? = nil) -> ComparedStep {
    .call(RPCPath.KV.deleteRange, request, as: Etcdserverpb_DeleteRangeResponse.self, user: user)
  }

  static func transaction(_ request: Etcdserverpb_TxnRequest, user: String? = nil) -> ComparedStep {
    .call(RPCPath.KV.txn, request, as: Etcdserverpb_TxnResponse.self, user: user)
  }

  static func grant(_ id: Int64, ttl: Int64, user: String? = nil) -> ComparedStep {
    var request = Etcdserverpb_LeaseGrantRequest()
    request.id = id
    request.ttl = ttl
    return .call(RPCPath.Lease.leaseGrant, request, as: Etcdserverpb_LeaseGrantResponse.self, user: user) {
      if id == 0 { $0.id = $0.id > 0 ? 1 : 0 }
    }
  }

  static func revoke(_ id: Int64, user: String? = nil) -> ComparedStep {
    var request = Etcdserverpb_LeaseRevokeRequest()
    request.id = id
    return .call(RPCPath.Lease.leaseRevoke, request, as: Etcdserverpb_LeaseRevokeResponse.self, user: user)
  }
}

/// Keys of the comparison's own, which no story draws.
enum ComparedKeys {
  /// Stands for a step that was left out, so that revisions stay what they were.
  static let filler = "~filler"
  /// Is put where past watches are awaited.
  static let fence = "~fence"
  /// Watches of the comparison's own have ids from here on.
  static let firstProbe: Int64 = 1_000_000
  /// Leases with chosen ids are not above this; those that a server draws are, but for one in 10¹³.
  static let mostLeaseID: Int64 = 1_000_000
}
