// The flags of the gateway's port: where it listens, how that is protected, and what a client may make it hold.

import ArgumentParser
import CoreNode
import Gateway
import Wire

/// TLS on the gateway's port, and the word for going without.
struct GatewayPortFlags: ParsableArguments {
  @Option(
    name: .customLong("listen-gateway"),
    help: "Address of the gateway. With https:// it speaks TLS; any other than a loopback address needs TLS.")
  var listen = ListenAddress(argument: "127.0.0.1:4001")!

  @Option(
    name: .customLong("gateway-cert-file"), help: "The certificate (PEM) with which the gateway serves; needs https://."
  )
  var certificate: String?

  @Option(name: .customLong("gateway-key-file"), help: "Its key (PEM). Both are read again when they change.")
  var key: String?

  @Option(
    name: .customLong("gateway-trusted-ca-file"),
    help: "Authorities (PEM) of the certificates that clients of the gateway present.")
  var trustedCA: String?

  @Option(
    name: .customLong("gateway-client-certs"),
    help: "Whether clients must present a certificate by --gateway-trusted-ca-file: required, optional.")
  var clientCertificates: ClientCertificates?

  @Flag(
    name: .customLong("allow-plain-http"),
    help: "Take tokens in plain text on any address: whoever reads the network can then write with them.")
  var allowsPlainHTTP = false

  enum ClientCertificates: String, ExpressibleByArgument, CaseIterable, Sendable { case required, optional }

  func security(_ shared: SharedTLSFlags) throws -> GatewaySecurity {
    guard clientCertificates == nil || trustedCA != nil else {
      throw ValidationError(
        "--gateway-client-certs needs --gateway-trusted-ca-file: otherwise anybody's certificate would do")
    }
    guard !(allowsPlainHTTP && listen.usesTLS) else {
      throw ValidationError("--allow-plain-http and --listen-gateway https:// exclude each other")
    }
    var settings = TLSSettings(
      certificateFile: certificate, keyFile: key, trustedCAFile: trustedCA, applicationProtocols: ["http/1.1"])
    settings.takesClientsWithoutCertificate = clientCertificates == .optional
    let port = PortFlags(
      urls: "--listen-gateway", certificate: "--gateway-cert-file", key: "--gateway-key-file",
      authentication: "--gateway-client-certs", trustedCA: "--gateway-trusted-ca-file")
    let security = try port.security(
      settings, at: [listen.url], isAutomatic: false, asksForCertificate: false, shared)
    guard case .tls(let settings, _) = security else {
      return .plainText(isAllowedBeyondLoopback: allowsPlainHTTP)
    }
    return .tls(settings)
  }
}

/// What a client may make the gateway hold, and for how long.
struct GatewayLimitFlags: ParsableArguments {
  @Option(name: .customLong("max-body-bytes"), help: "The largest body of a request.")
  var bodyBytes = 4 << 20

  @Option(name: .customLong("max-load-bytes"), help: "The largest file that /db/load takes.")
  var loadBytes = 1 << 30

  @Option(name: .customLong("max-header-bytes"), help: "The most that a request's header fields may have.")
  var headerBytes = 80 << 10

  @Option(name: .customLong("max-sql-bytes"), help: "The longest SQL text.")
  var sqlBytes = 1 << 20

  @Option(name: .customLong("max-statements"), help: "Statements in one request.")
  var statements = 1024

  @Option(name: .customLong("max-result-bytes"), help: "The largest answer that is held whole.")
  var resultBytes = 16 << 20

  @Option(name: .customLong("max-result-rows"), help: "Rows of an answer that is held whole.")
  var resultRows = 1_000_000

  @Option(name: .customLong("max-connections"), help: "Connections. Default: what the system allows, at most 4096.")
  var connections: Int?

  @Option(name: .customLong("max-requests"), help: "Requests that are being answered at once.")
  var requests = 8192

  @Option(name: .customLong("write-timeout"), help: "How long a write may run.")
  var write = DurationArgument(argument: "10s")!

  @Option(name: .customLong("read-timeout"), help: "How long a read may run whose answer is held whole.")
  var read = DurationArgument(argument: "30s")!

  @Option(name: .customLong("stream-timeout"), help: "How long a read may run whose rows are sent as they come.")
  var stream = DurationArgument(argument: "5m")!

  @Option(
    name: .customLong("client-timeout"),
    help: ArgumentHelp(
      "How long a client may take to send a request's head, to send 16 KiB more of its body, and to read of an answer.",
      discussion: "A client that is slower is cut off. Also the time for a TLS handshake."))
  var client = DurationArgument(argument: "10s")!

  @Option(name: .customLong("idle-timeout"), help: "How long a connection may stay open without a request.")
  var idle = DurationArgument(argument: "2m")!

  func limits() throws -> GatewayLimits {
    var limits = GatewayLimits()
    for (flag, value, range) in [
      ("--max-body-bytes", bodyBytes, 1024...1 << 30), ("--max-header-bytes", headerBytes, 4096...1 << 20),
      ("--max-load-bytes", loadBytes, 512...1 << 40), ("--max-sql-bytes", sqlBytes, 64...1_000_000_000),
      ("--max-statements", statements, 1...1_000_000), ("--max-result-bytes", resultBytes, 1024...1 << 30),
      ("--max-result-rows", resultRows, 1...1 << 30), ("--max-connections", connections ?? 1, 1...1_000_000),
      ("--max-requests", requests, 1...1_000_000),
    ] where !range.contains(value) {
      throw ValidationError("\(flag) is from \(range.lowerBound) to \(range.upperBound), not \(value)")
    }
    for (flag, time) in [
      ("--write-timeout", write), ("--read-timeout", read), ("--stream-timeout", stream), ("--client-timeout", client),
      ("--idle-timeout", idle),
    ] where time.duration < .milliseconds(10) {
      throw ValidationError("\(flag) must be at least 10ms")
    }
    limits.bodyBytes = bodyBytes
    limits.bodyBytesInAll = max(limits.bodyBytesInAll, bodyBytes)
    limits.loadBytes = loadBytes
    limits.headerBytes = headerBytes
    limits.engine.sqlBytes = sqlBytes
    limits.engine.statementsPerRequest = statements
    limits.engine.resultBytes = resultBytes
    limits.engine.resultRows = resultRows
    if let connections { limits.connections = connections }
    limits.requests = requests
    limits.engine.writeSeconds = write.duration.inSeconds
    limits.engine.readSeconds = read.duration.inSeconds
    limits.engine.streamSeconds = stream.duration.inSeconds
    limits.headSeconds = client.duration.inSeconds
    limits.bodyWindowSeconds = client.duration.inSeconds
    limits.stallSeconds = client.duration.inSeconds
    limits.handshakeSeconds = client.duration.inSeconds
    limits.idleConnectionSeconds = idle.duration.inSeconds
    return limits
  }
}

extension Duration {
  fileprivate var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

extension GatewayConfiguration {
  init(
    _ port: GatewayPortFlags, _ shared: SharedTLSFlags, _ limits: GatewayLimitFlags, _ databases: [DatabaseDeclaration]
  ) throws {
    self.init(host: port.listen.host, port: port.listen.port, databases: databases)
    security = try port.security(shared)
    self.limits = try limits.limits()
    do {
      try checkTransport()
    } catch {
      throw ValidationError(error.description)
    }
  }
}
