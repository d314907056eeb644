// The flags for TLS, by etcd's names: of a server's two ports, and of clients.

import ArgumentParser
import Client
import Commands
import CoreNode
import Foundation
import Wire

/// Of the port for clients.
struct ClientPortTLSFlags: ParsableArguments {
  @Option(name: .customLong("cert-file"), help: "The certificate (PEM) with which clients are served; needs https://.")
  var certificate: String?

  @Option(name: .customLong("key-file"), help: "Its key (PEM).")
  var key: String?

  @Flag(name: .customLong("client-cert-auth"), help: "Ask clients for a certificate by --trusted-ca-file.")
  var asksForCertificate = false

  @Option(
    name: .customLong("trusted-ca-file"), help: "Authorities (PEM) of clients' certificates. Asks for one, as in etcd.")
  var trustedCA: String?

  @Option(name: .customLong("client-cert-allowed-hostname"), help: "The host that a client's certificate must be for.")
  var allowedHostname: String?

  @Flag(name: .customLong("auto-tls"), help: "Serve clients with a certificate that the node makes for itself.")
  var isAutomatic = false

  /// - Parameter places: where clients are served.
  func security(at places: [ListenURL], _ shared: SharedTLSFlags) throws -> PortSecurity {
    var settings = TLSSettings(
      certificateFile: certificate, keyFile: key, trustedCAFile: trustedCA,
      applicationProtocols: TLSSettings.serverProtocols)
    settings.allowedHostname = allowedHostname
    let port = PortFlags(
      urls: "--listen-client-urls", certificate: "--cert-file", key: "--key-file", automatic: "--auto-tls",
      authentication: "--client-cert-auth", trustedCA: "--trusted-ca-file")
    return try port.security(
      settings, at: places, isAutomatic: isAutomatic, asksForCertificate: asksForCertificate, shared)
  }
}

/// Of the port for peers.
struct PeerPortTLSFlags: ParsableArguments {
  @Option(
    name: .customLong("peer-cert-file"),
    help: "The certificate (PEM) with which this node serves its peers and connects to them; needs https://.")
  var certificate: String?

  @Option(name: .customLong("peer-key-file"), help: "Its key (PEM).")
  var key: String?

  @Option(
    name: .customLong("peer-client-cert-file"), help: "Another certificate for connecting. Default: --peer-cert-file.")
  var dialingCertificate: String?

  @Option(name: .customLong("peer-client-key-file"), help: "Its key (PEM).")
  var dialingKey: String?

  @Flag(name: .customLong("peer-client-cert-auth"), help: "Ask peers for a certificate by --peer-trusted-ca-file.")
  var asksForCertificate = false

  @Option(
    name: .customLong("peer-trusted-ca-file"),
    help: "Authorities (PEM) of peers' certificates. Asks for one, as in etcd.")
  var trustedCA: String?

  @Option(name: .customLong("peer-cert-allowed-cn"), help: "The common name that a peer's certificate must have.")
  var allowedCommonName: String?

  @Option(name: .customLong("peer-cert-allowed-hostname"), help: "The host that a peer's certificate must be for.")
  var allowedHostname: String?

  @Flag(name: .customLong("peer-auto-tls"), help: "Talk to peers with certificates that the nodes make for themselves.")
  var isAutomatic = false

  func security(at places: [ListenURL], _ shared: SharedTLSFlags) throws -> PortSecurity {
    guard allowedCommonName == nil || allowedHostname == nil else {
      throw ValidationError("--peer-cert-allowed-cn and --peer-cert-allowed-hostname exclude each other")
    }
    guard allowedCommonName == nil && allowedHostname == nil || trustedCA != nil else {
      throw ValidationError("--peer-cert-allowed-cn and --peer-cert-allowed-hostname need --peer-trusted-ca-file")
    }
    var settings = TLSSettings(certificateFile: certificate, keyFile: key, trustedCAFile: trustedCA)
    settings.allowedCommonName = allowedCommonName
    settings.allowedHostname = allowedHostname
    let port = PortFlags(
      urls: "--listen-peer-urls", certificate: "--peer-cert-file", key: "--peer-key-file", automatic: "--peer-auto-tls",
      authentication: "--peer-client-cert-auth", trustedCA: "--peer-trusted-ca-file")
    let security = try port.security(
      settings, at: places, isAutomatic: isAutomatic, asksForCertificate: asksForCertificate, shared)
    guard case .tls(let serving, _) = security, dialingCertificate != nil || dialingKey != nil else { return security }
    guard let dialingCertificate, let dialingKey else {
      throw ValidationError("--peer-client-cert-file and --peer-client-key-file go together")
    }
    var dialing = serving
    (dialing.certificateFile, dialing.keyFile) = (dialingCertificate, dialingKey)
    return .tls(serving, dialing: dialing)
  }
}

/// What both ports share.
struct SharedTLSFlags: ParsableArguments {
  @Option(name: .customLong("self-signed-cert-validity"), help: "Years for which certificates of --auto-tls are valid.")
  var years = 1

  @Option(name: .customLong("cipher-suites"), help: "Cipher suites of TLS 1.2, with commas. Default: the safe ones.")
  var cipherSuites: String?

  @Option(name: .customLong("tls-min-version"), help: "TLS1.2 or TLS1.3.")
  var minimumVersion = "TLS1.2"

  @Option(name: .customLong("tls-max-version"), help: "TLS1.2 or TLS1.3. Default: the newest.")
  var maximumVersion: String?

  func apply(to settings: inout TLSSettings) throws {
    settings.minimumVersion = try version(minimumVersion, "--tls-min-version") ?? .tls12
    settings.maximumVersion = try version(maximumVersion ?? "", "--tls-max-version")
    settings.cipherSuites = (cipherSuites ?? "").split(separator: ",").map(String.init)
    if let unknown = settings.cipherSuites.first(where: { !TLSSettings.knownCipherSuites.contains($0) }) {
      let known = TLSSettings.knownCipherSuites.joined(separator: ", ")
      throw ValidationError("--cipher-suites: no suite is called \"\(unknown)\"; there are \(known)")
    }
    guard settings.minimumVersion == .tls12 || settings.maximumVersion != .tls12 else {
      throw ValidationError("--tls-min-version TLS1.3 is above --tls-max-version TLS1.2")
    }
    guard settings.minimumVersion == .tls12 || settings.cipherSuites.isEmpty else {
      throw ValidationError("--cipher-suites has no effect on TLS 1.3, and --tls-min-version asks for nothing below it")
    }
    guard (1...100).contains(years) else { throw ValidationError("--self-signed-cert-validity is from 1 to 100 years") }
  }

  private func version(_ text: String, _ flag: String) throws -> TLSSettings.Version? {
    if text.isEmpty { return nil }
    if let version = TLSSettings.Version(rawValue: text) { return version }
    throw ValidationError("\(flag) is TLS1.2 or TLS1.3, not \"\(text)\"; older versions are not safe")
  }
}

/// How the flags of one port are called, and the rules that they share.
struct PortFlags {
  let urls: String
  let certificate: String
  let key: String
  /// Nil where there are no certificates that make themselves.
  var automatic: String?
  let authentication: String
  let trustedCA: String

  func security(
    _ given: TLSSettings, at places: [ListenURL], isAutomatic: Bool, asksForCertificate: Bool,
    _ shared: SharedTLSFlags
  ) throws -> PortSecurity {
    var settings = given
    // An empty value is none, as in etcd: environments of containers are full of them.
    if settings.certificateFile == "" { settings.certificateFile = nil }
    if settings.keyFile == "" { settings.keyFile = nil }
    if settings.trustedCAFile == "" { settings.trustedCAFile = nil }
    if settings.allowedHostname == "" { settings.allowedHostname = nil }
    if settings.allowedCommonName == "" { settings.allowedCommonName = nil }
    try shared.apply(to: &settings)
    let hasCertificate = settings.certificateFile != nil || settings.keyFile != nil
    guard places.contains(where: \.usesTLS) else {
      // etcd would say so in its log, and serve in plain text.
      guard !hasCertificate, !isAutomatic, settings.trustedCAFile == nil, !asksForCertificate else {
        throw ValidationError(
          "\(urls) is http://, and TLS was asked for: write https://, or leave the flags for TLS out")
      }
      return .plainText
    }
    guard !asksForCertificate || settings.trustedCAFile != nil else {
      throw ValidationError("\(authentication) needs \(trustedCA): otherwise anybody's certificate would do")
    }
    if isAutomatic, !hasCertificate { return .selfSigned(settings, years: shared.years) }
    guard settings.certificateFile != nil, settings.keyFile != nil else {
      throw ValidationError(
        "\(urls) is https://, which needs \(certificate) and \(key)\(automatic.map { ", or \($0)" } ?? "")")
    }
    return .tls(settings)
  }
}

/// Of a client, by the names of etcdctl.
struct ClientTLSFlags: ParsableArguments {
  @Option(
    name: .customLong("cacert"),
    help: "Authorities (PEM) of https:// endpoints. Default: the system's. Environment: PORTCULLIS_CACERT.")
  var trustedCA: String?

  @Option(name: .customLong("cert"), help: "The certificate (PEM) to present. Environment: PORTCULLIS_CERT.")
  var certificate: String?

  @Option(name: .customLong("key"), help: "Its key (PEM). Environment: PORTCULLIS_KEY.")
  var key: String?

  @Flag(
    name: .customLong("insecure-skip-tls-verify"),
    help: "Take any certificate of anybody. Environment: PORTCULLIS_INSECURE_SKIP_TLS_VERIFY.")
  var skipsVerification = false

  func options(for endpoints: [Endpoint]) throws -> TLSOptions {
    try options(isSpoken: endpoints.contains(where: \.usesTLS))
  }

  /// - Parameter isSpoken: whether TLS is spoken with anybody. A flag which would silently do nothing is refused; the
  ///   environment is for many commands, so what is set there may go unused.
  func options(isSpoken: Bool) throws -> TLSOptions {
    let isGiven = trustedCA != nil || certificate != nil || key != nil || skipsVerification
    guard !isGiven || isSpoken else {
      throw ValidationError(
        "--cacert, --cert and --key are for https:// endpoints, and there is none: write https://host:port")
    }
    let skips = ConnectionOptions.environment(TLSOptions.Variable.skipsVerification)?.lowercased()
    let options = TLSOptions(
      trustedCAFile: trustedCA ?? ConnectionOptions.environment(TLSOptions.Variable.trustedCAFile),
      certificateFile: certificate ?? ConnectionOptions.environment(TLSOptions.Variable.certificateFile),
      keyFile: key ?? ConnectionOptions.environment(TLSOptions.Variable.keyFile),
      skipsVerification: skipsVerification || skips == "true" || skips == "1")
    guard (options.certificateFile == nil) == (options.keyFile == nil) else {
      throw ValidationError("--cert and --key go together")
    }
    return options
  }
}
