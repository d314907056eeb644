// What one end of a connection is told about TLS: its files, what it asks of the other end, and which versions it speaks.

package import NIOSSL

/// How a server or a client is to speak TLS.
package struct TLSSettings: Sendable, Equatable {
  package enum Version: String, Sendable, CaseIterable {
    case tls12 = "TLS1.2"
    case tls13 = "TLS1.3"
  }

  /// PEM, the certificate of this end first and those between it and its authority behind it. A server needs one.
  package var certificateFile: String?
  package var keyFile: String?
  /// PEM: the authorities that may have signed what the other end presents. A client without it trusts those that the
  /// system trusts; a server without it asks for no certificate.
  package var trustedCAFile: String?
  /// Of a server with trusted authorities: lets clients in that present no certificate. One that is presented must be good.
  package var takesClientsWithoutCertificate = false
  /// What the certificate of the other end must have as its common name.
  package var allowedCommonName: String?
  /// The host that a client's certificate must be for.
  package var allowedHostname: String?
  /// Of TLS 1.2, by the names of the IANA; those of 1.3 cannot be chosen. Empty for the library's choice.
  package var cipherSuites: [String]
  package var minimumVersion: Version
  /// Nil for the newest.
  package var maximumVersion: Version?
  /// Of a client: takes any certificate. Encrypts, and does not tell with whom one speaks.
  package var skipsVerification: Bool
  /// In the order of preference (ALPN, RFC 7301).
  package var applicationProtocols: [String]

  package init(
    certificateFile: String? = nil, keyFile: String? = nil, trustedCAFile: String? = nil,
    applicationProtocols: [String] = []
  ) {
    self.certificateFile = certificateFile
    self.keyFile = keyFile
    self.trustedCAFile = trustedCAFile
    self.cipherSuites = []
    self.minimumVersion = .tls12
    self.skipsVerification = false
    self.applicationProtocols = applicationProtocols
  }

  /// What a server of gRPC and HTTP/1 on one port speaks.
  package static let serverProtocols = ["h2", "http/1.1"]
  package static let clientProtocols = ["h2"]

  /// The names that `cipherSuites` takes. The second name of ChaCha20's is Go's older one, and so etcd's.
  package static let knownCipherSuites: [String] = suites.map(\.0)

  private static let suites: [(String, NIOTLSCipher)] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", .TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", .TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", .TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", .TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", .TLS_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", .TLS_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_RSA_WITH_AES_128_CBC_SHA", .TLS_RSA_WITH_AES_128_CBC_SHA),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", .TLS_RSA_WITH_AES_256_CBC_SHA),
  ]

  /// A client's configuration for somebody else's machinery, with the files as they are now; blocks.
  package func clientConfiguration() throws(TLSError) -> TLSConfiguration {
    try configuration(.client, try TLSMaterial.read(self))
  }

  /// Which end of a connection speaks.
  package enum Role: Sendable { case server, client }

  /// The library's form of the settings, with what was read from the files.
  func configuration(_ role: Role, _ material: TLSMaterial) throws(TLSError) -> TLSConfiguration {
    let chain = material.chain.map { NIOSSLCertificateSource.certificate($0) }
    var made: TLSConfiguration
    switch role {
    case .server:
      guard let key = material.key else {
        throw TLSError(.badSettings, "a server that speaks TLS needs a certificate and its key")
      }
      made = .makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key))
      if let roots = material.roots {
        made.certificateVerification = takesClientsWithoutCertificate ? .optionalVerification : .noHostnameVerification
        made.trustRoots = .certificates(roots)
        made.sendCANameList = true
      } else if allowedCommonName != nil || allowedHostname != nil {
        throw TLSError(.badSettings, "names can only be asked of certificates that are signed by trusted authorities")
      }
    case .client:
      made = .makeClientConfiguration()
      made.certificateChain = chain
      made.privateKey = material.key.map { .privateKey($0) }
      if let roots = material.roots { made.trustRoots = .certificates(roots) }
      if skipsVerification { made.certificateVerification = .none }
    }
    try setVersions(of: &made)
    made.applicationProtocols = applicationProtocols
    // A peer that does not answer the farewell is not waited for any longer.
    made.shutdownTimeout = .seconds(1)
    return made
  }

  private func setVersions(of made: inout TLSConfiguration) throws(TLSError) {
    made.minimumTLSVersion = minimumVersion == .tls13 ? .tlsv13 : .tlsv12
    made.maximumTLSVersion = maximumVersion == .tls12 ? .tlsv12 : nil
    guard minimumVersion == .tls12 || maximumVersion != .tls12 else {
      throw TLSError(.badSettings, "the lowest version of TLS (TLS1.3) is above the highest (TLS1.2)")
    }
    guard !cipherSuites.isEmpty else { return }
    guard minimumVersion == .tls12 else {
      throw TLSError(.badSettings, "the cipher suites of TLS 1.3 cannot be chosen; leave the choice out")
    }
    var chosen: [NIOTLSCipher] = []
    for name in cipherSuites {
      guard let suite = Self.suites.first(where: { $0.0 == name })?.1 else {
        throw TLSError(
          .badSettings,
          "no cipher suite is called \"\(name)\"; there are \(Self.knownCipherSuites.joined(separator: ", "))"
        )
      }
      chosen.append(suite)
    }
    made.cipherSuiteValues = chosen
  }
}
