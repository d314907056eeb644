// Which code answers which path.

package import NIOCore

/// Finds the method for a path. One instance serves every connection, so it must not change once it is handed over.
package protocol RPCRouter: Sendable {
  /// `path` is HTTP/2's, such as `/etcdserverpb.KV/Put`.
  func method(for path: String) -> RPCMethod?
  /// Whether any method of the service is known, which only decides the wording of a refusal.
  func hasService(_ name: String) -> Bool
}

extension RPCRouter {
  package func hasService(_ name: String) -> Bool { false }
}

package enum RPCMethod: Sendable {
  /// One message in, one out. Called on the connection's event loop once the whole request is there; the answer may be
  /// given at once or later, through the call.
  case unary(@Sendable (UnaryCall, ByteBuffer) -> Void)
  /// Any number of messages either way. Called on the event loop when the stream opens; the handler stays on that loop.
  case streaming(@Sendable (StreamCall) -> any StreamHandler)
}

/// A router over a table.
package struct RPCRoutes: RPCRouter {
  private var methods: [String: RPCMethod]
  private var services: Set<String>

  package init(_ methods: [String: RPCMethod]) {
    self.methods = methods
    self.services = []
    for path in methods.keys {
      guard let name = RPCPathName(path) else {
        preconditionFailure("\(path) is not a path of the form /package.Service/Method")
      }
      self.services.insert(name.service)
    }
  }

  package func method(for path: String) -> RPCMethod? {
    self.methods[path]
  }

  package func hasService(_ name: String) -> Bool {
    self.services.contains(name)
  }
}

/// A path taken apart.
struct RPCPathName {
  var service: String
  var method: String

  init?(_ path: String) {
    guard path.utf8.first == UInt8(ascii: "/"), let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
      return nil
    }
    self.service = String(path[path.index(after: path.startIndex)..<slash])
    self.method = String(path[path.index(after: slash)...])
  }

  /// The refusal of a path that no method answers, in the words of Go's server.
  static func refusal(of path: String, router: any RPCRouter) -> RPCStatus {
    guard let name = RPCPathName(path) else {
      return RPCStatus(.unimplemented, "malformed method name: \"\(path)\"")
    }
    guard router.hasService(name.service) else {
      return RPCStatus(.unimplemented, "unknown service \(name.service)")
    }
    return RPCStatus(.unimplemented, "unknown method \(name.method) for service \(name.service)")
  }
}
