// What a gateway serves and within which bounds.

package import Tokens

package struct GatewayConfiguration: Sendable {
  package var host: String
  /// Zero asks the system for a free port.
  package var port: Int
  package var databases: [DatabaseDeclaration]
  package var limits = GatewayLimits()

  package init(host: String = "127.0.0.1", port: Int, databases: [DatabaseDeclaration]) {
    self.host = host
    self.port = port
    self.databases = databases
  }
}

package struct GatewayLimits: Sendable {
  package var engine = EngineLimits()
  package var bodyBytes = 4 << 20
  /// With more databases than this, files are opened when they are asked for, and closed when they are idle.
  package var openDatabases = 64
  /// How long a file stays open that nobody uses.
  package var idleSeconds = 60.0
  package var cachedTokens = 4096
  /// Each costs a signature check when it is new.
  package var tokensPerRequest = 16
  /// Keys are asked for at most this often, however many tokens with unknown keys arrive.
  package var keyRefreshSeconds = 1.0
  /// Keys that are older than this are asked for again beside the next request: what a key may vouch for ends with its node.
  package var keyAgeSeconds = 60.0
  package var tokenLeewaySeconds = KeySet.defaultLeewaySeconds
  /// How long a client may take nothing of a large answer before its connection is closed.
  package var stallSeconds = 10.0
  /// How long requests that run when the gateway is told to stop may take to end.
  package var shutdownSeconds = 1.5

  package init() {}
}

/// Where the gateway learns the public keys of the cluster whose tokens it takes.
package protocol AuthorityKeys: Sendable {
  /// `refresh` is true where a token named a key that the last answer did not hold.
  func keySet(refresh: Bool) async throws -> KeySet
}

/// Why a gateway could not be set up.
package enum GatewayError: Error, Sendable, CustomStringConvertible {
  case invalidName(String)
  case duplicateName(String)
  case samePath(String, String)
  /// Two scopes for one table, or a scope twice.
  case scopes(database: String, String)
  case open(database: String, OpenError)
  case listen(host: String, port: Int, reason: String)

  package var description: String {
    switch self {
    case .invalidName(let name):
      return
        "\"\(name)\" is no database name: use 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit."
    case .duplicateName(let name): return "The database name \"\(name)\" is declared twice."
    case .samePath(let first, let second): return "The databases \"\(first)\" and \"\(second)\" are one file."
    case .scopes(let database, let problem): return "Database \"\(database)\": \(problem)."
    case .listen(let host, let port, let reason):
      return
        "the gateway cannot listen on \(host):\(port): \(reason.lowercased()). Choose another address with --listen-gateway."
    case .open(let database, let error): return "Database \"\(database)\": \(error)"
    }
  }
}
