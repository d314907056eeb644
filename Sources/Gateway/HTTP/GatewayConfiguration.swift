// What a gateway serves and within which bounds.

package import Tokens
package import Wire

/// How the gateway's port is protected.
package enum GatewaySecurity: Sendable, Equatable {
  /// Tokens are whoever's that reads them on the way, so beyond loopback plain text takes a word of its own.
  case plainText(isAllowedBeyondLoopback: Bool)
  case tls(TLSSettings)
}

package struct GatewayConfiguration: Sendable {
  package var host: String
  /// Zero asks the system for a free port.
  package var port: Int
  package var databases: [DatabaseDeclaration]
  package var limits = GatewayLimits()
  package var security = GatewaySecurity.plainText(isAllowedBeyondLoopback: false)

  package init(host: String = "127.0.0.1", port: Int, databases: [DatabaseDeclaration]) {
    self.host = host
    self.port = port
    self.databases = databases
  }
}

package struct GatewayLimits: Sendable {
  package var engine = EngineLimits()
  package var bodyBytes = 4 << 20
  /// The largest file, or SQL text, that `load` takes.
  package var loadBytes = 1 << 30
  /// Of the bodies of all requests that are being read or carried out.
  package var bodyBytesInAll = 256 << 20
  /// Requests that are being answered.
  package var requests = 8192
  /// Beyond so many connections a new one takes the place of one that is idle, or is turned away.
  package var connections = Self.possibleConnections
  /// Of all header fields of a request together. The tokens of a request over many scopes are most of it.
  package var headerBytes = 80 << 10
  package var headerFields = 100
  /// How long the head of a request may take to come, from its first byte.
  package var headSeconds = 10.0
  /// In so much time at least `leastBodyBytes` of a body must come, or the rest of it.
  package var bodyWindowSeconds = 10.0
  package var leastBodyBytes = 16 << 10
  /// How long a connection may be open without a request.
  package var idleConnectionSeconds = 120.0
  /// How long a TLS handshake may take.
  package var handshakeSeconds = 10.0
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

  /// Databases need descriptors too.
  private static let possibleConnections: Int = {
    OpenFiles.raise()
    return min(4096, OpenFiles.connectionLimit / 2)
  }()
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
  case plainText(host: String)
  case tls(TLSError)

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
    case .plainText(let host):
      return
        "the gateway would take tokens in plain text on \(host), where whoever reads one can write with it. Serve with TLS "
        + "(--listen-gateway https://… with --gateway-cert-file and --gateway-key-file), listen on 127.0.0.1, or say "
        + "--allow-plain-http where the network is yours alone."
    case .tls(let error): return "the gateway cannot serve with TLS: \(error)"
    case .open(let database, let error): return "Database \"\(database)\": \(error)"
    }
  }
}

extension GatewayConfiguration {
  /// - Throws: where tokens would pass in plain text over a network.
  package func checkTransport() throws(GatewayError) {
    guard case .plainText(isAllowedBeyondLoopback: false) = security, !Self.isLoopback(host) else { return }
    throw .plainText(host: host)
  }

  /// Only what certainly never leaves the machine: a name may be looked up to anything.
  private static func isLoopback(_ host: String) -> Bool {
    if host == "localhost" || host == "::1" { return true }
    let parts = host.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
    return parts.count == 4 && parts.allSatisfy { $0 != nil } && parts[0] == 127
  }
}
