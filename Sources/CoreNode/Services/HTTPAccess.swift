// Owns who may ask over HTTP/1: etcd's `--host-whitelist` and `--cors`. gRPC's calls are not concerned: no browser makes them.

import NIOCore
import Wire

package struct HTTPAccess: Sendable, Equatable {
  /// Names by which clients may call this node, against web pages that have their own name point to it (DNS rebinding);
  /// nil for any. Without TLS only: a certificate says the same.
  package var hosts: Set<String>?
  /// Web pages' origins that may read answers; nil for any.
  package var origins: Set<String>?

  package init() {}

  /// Reads a list with commas as etcd does: empty, or with a `*` in it, allows everything.
  package static func names(parsing text: String) -> Set<String>? {
    let names = Set(text.split(separator: ",").map(\.trimmingSpaces))
    return names.isEmpty || names.contains("*") ? nil : names
  }

  /// The same responder behind the rules. etcd's order: the host first, then the origin; a preflight is answered here.
  func guarding(_ responder: @escaping HTTPResponder) -> HTTPResponder {
    { [self] request, eventLoop in
      if let hosts, !hosts.contains(Self.hostname(request.header("host") ?? "")) {
        return eventLoop.makeSucceededFuture(Self.misdirected(request.header("host") ?? ""))
      }
      guard let origin = allowedOrigin(request.header("origin")) else {
        return request.method == "OPTIONS"
          ? eventLoop.makeSucceededFuture(HTTPReply(status: 200, text: "")) : responder(request, eventLoop)
      }
      let headers = [
        ("access-control-allow-methods", "POST, GET, OPTIONS, PUT, DELETE"),
        ("access-control-allow-origin", origin),
        ("access-control-allow-headers", "accept, content-type, authorization"),
      ]
      guard request.method != "OPTIONS" else {
        let body = ByteBuffer()
        return eventLoop.makeSucceededFuture(
          HTTPReply(status: 200, contentType: "text/plain; charset=utf-8", body: body, extraHeaders: headers))
      }
      return responder(request, eventLoop).map { reply in
        var reply = reply
        reply.extraHeaders += headers
        return reply
      }
    }
  }

  /// What a reply names as the origin that may read it, or nil.
  private func allowedOrigin(_ origin: String?) -> String? {
    guard let origins else { return "*" }
    guard let origin, origins.contains(origin) else { return nil }
    return origin
  }

  /// Without the port, and an IPv6 address without its brackets.
  static func hostname(_ host: String) -> String {
    if host.hasPrefix("["), let end = host.firstIndex(of: "]") { return String(host[..<end].dropFirst()) }
    guard let colon = host.lastIndex(of: ":"), host.firstIndex(of: ":") == colon else { return host }
    return String(host[..<colon])
  }

  private static func misdirected(_ host: String) -> HTTPReply {
    HTTPReply(
      status: 421,
      text: """
        this node does not know itself under the host name "\(host)": add the name to --host-whitelist, or use TLS


        """)
  }
}
