// How a node's two ports speak: in plain text, with certificates from files, or with one that the node makes for itself.
//
// Both sides of a link between peers follow the same setting. A cluster is one or the other; a peer whose URL says
// something else is not talked to, and both nodes say so in their logs.

import Foundation
import Logging
import NIOCore
package import Wire

/// How one port speaks.
package enum PortSecurity: Sendable, Equatable {
  case plainText
  /// - Parameter dialing: of the peer port: how this node connects to others.
  case tls(TLSSettings, dialing: TLSSettings? = nil)
  /// A certificate that the node makes for itself, valid for so many years and kept in the data directory. Who connects
  /// cannot tell whom it reached: it hides what is said, and nothing more.
  case selfSigned(TLSSettings, years: Int)

  var usesTLS: Bool { self != .plainText }
  package var scheme: String { usesTLS ? "https" : "http" }
}

/// What the peer transport needs of it.
struct PeerSecurity: Sendable {
  /// Both are there, or none.
  var acceptor: TLSAcceptor?
  var connector: TLSConnector?

  /// Prepares a connection to a peer, on its event loop, before it is made.
  static func prepare(
    _ channel: any Channel, for endpoint: PeerEndpoint, _ connector: TLSConnector?,
    then: @escaping @Sendable (any Channel) throws -> Void
  ) -> EventLoopFuture<Void> {
    switch (endpoint.usesTLS, connector) {
    case (false, nil): return channel.eventLoop.makeCompletedFuture { try then(channel) }
    case (true, .some(let connector)):
      return connector.prepare(channel, host: endpoint.host).flatMapThrowing { try then(channel) }
    case (true, nil):
      let text =
        "its URL is https:// and this node has no certificate for its peers (--peer-cert-file, --peer-key-file)"
      return channel.eventLoop.makeFailedFuture(TLSError(.badSettings, text))
    case (false, .some):
      let text = "its URL is http:// and this node talks to its peers with TLS (portcullis member update)"
      return channel.eventLoop.makeFailedFuture(TLSError(.badSettings, text))
    }
  }

  /// Completes once messages may be sent.
  static func secured(_ channel: any Channel, _ connector: TLSConnector?) -> EventLoopFuture<any Channel> {
    guard let connector else { return channel.eventLoop.makeSucceededFuture(channel) }
    return connector.secured(channel).map { channel }
  }
}

/// The certificates of a node, loaded.
struct NodeSecurity: Sendable {
  var clients: TLSSource?
  var peers = PeerSecurity()

  /// Reads the files, or makes them; blocks.
  init(_ configuration: NodeConfiguration, logger: Logger) throws(NodeError) {
    do {
      switch configuration.clientSecurity {
      case .plainText: break
      case .tls(let settings, _): clients = try TLSSource(settings, .server, logger: logger)
      case .selfSigned(var settings, let years):
        try Self.makeCertificate("client", Self.clientHosts(configuration), years, configuration, &settings)
        clients = try TLSSource(settings, .server, logger: logger)
      }
      guard configuration.listensForPeers else { return }
      switch configuration.peerSecurity {
      case .plainText: break
      case .tls(let settings, let dialing): try setPeers(settings, dialing ?? settings, logger)
      case .selfSigned(var settings, let years):
        try Self.makeCertificate("peer", Self.peerHosts(configuration), years, configuration, &settings)
        var dialing = settings
        // Every node signed its own, so there is nobody whose signature could be asked for.
        dialing.skipsVerification = true
        try setPeers(settings, dialing, logger)
      }
    } catch let error as TLSError {
      throw .configuration(error.description)
    } catch let error as NodeError {
      throw error
    } catch {
      throw .configuration("a certificate cannot be made: \(error)")
    }
  }

  private mutating func setPeers(
    _ settings: TLSSettings, _ dialing: TLSSettings, _ logger: Logger
  ) throws(TLSError) {
    let limits = WireLimits()
    peers.acceptor = TLSAcceptor(
      try TLSSource(settings, .server, logger: logger), limits: limits, answersHTTP: false, logger: logger)
    peers.connector = TLSConnector(try TLSSource(dialing, .client, logger: logger), limits: limits)
  }

  // MARK: Certificates of the node's own

  /// One that has less time left than this is made anew at a start.
  private static let renewalMargin: TimeInterval = 30 * 24 * 3600

  /// As etcd, in `fixtures` below the data directory; a certificate that is there is kept, so that clients which were
  /// given it need not be given another at each start.
  private static func makeCertificate(
    _ kind: String, _ hosts: [String], _ years: Int, _ configuration: NodeConfiguration, _ settings: inout TLSSettings
  ) throws {
    let directory = "\(configuration.dataDirectory)/fixtures/\(kind)"
    settings.certificateFile = "\(directory)/cert.pem"
    settings.keyFile = "\(directory)/key.pem"
    if SelfSignedCertificate.isUsable(settings, until: Date(timeIntervalSinceNow: renewalMargin)) { return }
    do {
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw NodeError.storage("\(directory) cannot be made: \(error.localizedDescription)")
    }
    let made = try SelfSignedCertificate.make(hosts: hosts, validFor: years)
    try DurableFile.write(Array(made.key.utf8), to: "\(directory)/key.pem")
    try DurableFile.write(Array(made.certificate.utf8), to: "\(directory)/cert.pem")
  }

  private static func clientHosts(_ configuration: NodeConfiguration) -> [String] {
    let advertised = (configuration.advertisedClientURLs ?? []).map { PeerEndpoint(url: $0)?.host }
    return hosts(configuration.clientListeners.map(\.host) + advertised)
  }

  private static func peerHosts(_ configuration: NodeConfiguration) -> [String] {
    let own = configuration.peers.first { $0.name == configuration.name }?.endpoints ?? []
    return hosts(configuration.peerListeners.map(\.host) + own.map(\.host))
  }

  /// Who listens everywhere is reached by names that only its clients know; on the machine itself it is `localhost`.
  private static func hosts(_ given: [String?]) -> [String] {
    var hosts: [String] = []
    for case let host? in given where !["0.0.0.0", "::"].contains(host) && !hosts.contains(host) { hosts.append(host) }
    for host in ["localhost", "127.0.0.1"] where !hosts.contains(host) { hosts.append(host) }
    return hosts
  }
}
