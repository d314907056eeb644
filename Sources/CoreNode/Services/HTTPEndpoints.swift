// What the client port answers to plain HTTP: health, version, metrics, the public keys, and the API as JSON.

import CoordinationCore
import NIOCore
import RaftCore
import Wire

struct HTTPEndpoints: Sendable {
  let core: CoreAccess
  let gateway: JSONGateway

  func respond(to request: HTTPRequest, on eventLoop: any EventLoop) -> EventLoopFuture<HTTPReply> {
    if let reply = gateway.respond(to: request, on: eventLoop) { return reply }
    let snapshot = core.publication.snapshot
    let path = request.path.prefix { $0 != "?" }
    let reply: HTTPReply
    switch path {
    case "/.well-known/jwks.json": reply = .json(snapshot.jwks)
    case "/version":
      reply = .json(
        #"{"etcdserver":"\#(ProductVersion.etcdAPI)","etcdcluster":"\#(ProductVersion.etcdCluster)","portcullis":"\#(ProductVersion.portcullis)"}"#
      )
    case "/health", "/readyz":
      reply = isReady(snapshot) ? .json(#"{"health":"true","reason":""}"#) : notReady
    case "/livez": reply = .json(#"{"health":"true","reason":""}"#)
    case "/metrics":
      let metrics = Metrics(snapshot: snapshot, gauges: core.publication.gauges, watchers: core.watches.count)
      reply = .text(200, metrics.text)
    default: return eventLoop.makeSucceededFuture(.text(404, "404 page not found\n"))
    }
    guard request.method == "GET" || request.method == "HEAD" else {
      return eventLoop.makeSucceededFuture(.text(405, "only GET is answered here\n"))
    }
    return eventLoop.makeSucceededFuture(reply)
  }

  private var notReady: HTTPReply {
    HTTPReply(
      status: 503, contentType: "application/json",
      body: ByteBuffer(string: #"{"health":"false","reason":"NO LEADER"}"#))
  }

  private func isReady(_ snapshot: Snapshot) -> Bool { snapshot.leader != nil }
}

extension HTTPReply {
  fileprivate static func json(_ text: String) -> HTTPReply {
    HTTPReply(status: 200, contentType: "application/json", body: ByteBuffer(string: text))
  }

  fileprivate static func text(_ status: Int, _ text: String) -> HTTPReply {
    HTTPReply(status: status, contentType: "text/plain; charset=utf-8", body: ByteBuffer(string: text))
  }
}
