// What the client port answers to plain HTTP: health, version, metrics, the public keys, and the API as JSON. Health and
// metrics may be served elsewhere as well.

import CoordinationCore
import NIOCore
import RaftCore
import Wire

struct HTTPEndpoints: Sendable {
  let core: CoreAccess
  /// Nil where the API is not served as JSON.
  let gateway: JSONGateway?

  func respond(to request: HTTPRequest, on eventLoop: any EventLoop) -> EventLoopFuture<HTTPReply> {
    if let reply = gateway?.respond(to: request, on: eventLoop) { return reply }
    if let reply = figures(for: request, on: eventLoop) { return reply }
    let reply: HTTPReply
    switch request.path.prefix(while: { $0 != "?" }) {
    case "/.well-known/jwks.json": reply = .json(core.jwks(core.publication.snapshot))
    case "/version":
      reply = .json(
        #"{"etcdserver":"\#(ProductVersion.etcdAPI)","etcdcluster":"\#(ProductVersion.etcdCluster)","portcullis":"\#(ProductVersion.portcullis)"}"#
      )
    default: return eventLoop.makeSucceededFuture(Self.notFound)
    }
    guard request.method == "GET" || request.method == "HEAD" else {
      return eventLoop.makeSucceededFuture(.text(405, "only GET is answered here\n"))
    }
    return eventLoop.makeSucceededFuture(reply)
  }

  static var notFound: HTTPReply { .text(404, "404 page not found\n") }

  /// Metrics and health; nil for any other path.
  func figures(for request: HTTPRequest, on eventLoop: any EventLoop) -> EventLoopFuture<HTTPReply>? {
    let path = request.path.prefix { $0 != "?" }
    guard ["/metrics", "/health", "/readyz", "/livez"].contains(path) else { return nil }
    guard request.method == "GET" || request.method == "HEAD" else {
      return eventLoop.makeSucceededFuture(.text(405, "Method Not Allowed\n"))
    }
    switch path {
    case "/metrics": return eventLoop.makeSucceededFuture(.text(200, Metrics(core).text))
    case "/health": return health(HealthQuery(request.path), on: eventLoop)
    case "/readyz":
      let hasLeader = core.publication.snapshot.leader != nil
      return eventLoop.makeSucceededFuture(.health(failure: hasLeader ? nil : Self.noLeader))
    default: return eventLoop.makeSucceededFuture(.health(failure: nil))
    }
  }

  // MARK: Health

  private static let noLeader = "RAFT NO LEADER"

  /// etcd 3.5's health: no alarm that is not excluded, and a read that is answered. A `serializable` one asks nothing of the
  /// other members.
  private func health(_ query: HealthQuery, on eventLoop: any EventLoop) -> EventLoopFuture<HTTPReply> {
    let snapshot = core.publication.snapshot
    let alarms = core.alarms(in: snapshot).map(\.kindOfEtcd)
    if let alarm = alarms.first(where: { !query.excluded.contains($0.nameOfEtcd) }) {
      return eventLoop.makeSucceededFuture(.health(failure: "ALARM \(alarm.nameOfEtcd)"))
    }
    if query.isSerializable { return eventLoop.makeSucceededFuture(.health(failure: nil)) }
    guard snapshot.leader != nil else { return eventLoop.makeSucceededFuture(.health(failure: Self.noLeader)) }
    let promise = eventLoop.makePromise(of: HTTPReply.self)
    core.readLinearizably(on: eventLoop) { result in
      switch result {
      case .success: promise.succeed(.health(failure: nil))
      case .failure(let failure): promise.succeed(.health(failure: "RANGE ERROR:\(RPCStatus(failure).message)"))
      }
    }
    return promise.futureResult
  }
}

/// What `/health` was asked with: `?serializable=true&exclude=NOSPACE`.
struct HealthQuery: Equatable {
  var isSerializable = false
  var excluded: Set<String> = []

  init(_ target: String) {
    guard let mark = target.firstIndex(of: "?") else { return }
    for item in target[target.index(after: mark)...].split(separator: "&") {
      let parts = item.split(separator: "=", maxSplits: 1)
      switch parts.first {
      case "serializable": isSerializable = parts.count == 2 && parts[1] == "true"
      case "exclude": if parts.count == 2 { excluded.insert(String(parts[1])) }
      default: break
      }
    }
  }
}

extension Alarm.Kind {
  var nameOfEtcd: String { self == .corrupt ? "CORRUPT" : "NOSPACE" }
}

extension HTTPReply {
  fileprivate static func json(_ text: String) -> HTTPReply {
    HTTPReply(status: 200, contentType: "application/json", body: ByteBuffer(string: text))
  }

  fileprivate static func text(_ status: Int, _ text: String) -> HTTPReply {
    HTTPReply(status: status, contentType: "text/plain; charset=utf-8", body: ByteBuffer(string: text))
  }

  /// In etcd's form; 503 for a node that is not well.
  fileprivate static func health(failure: String?) -> HTTPReply {
    var reply = json(
      #"{"health":"\#(failure == nil)","reason":\#(JSONGateway.quoted(failure ?? ""))}"#)
    if failure != nil { reply.status = 503 }
    return reply
  }
}
