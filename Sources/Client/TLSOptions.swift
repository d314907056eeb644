// What a client is told about TLS, in the words of etcd's own tools.

package import Logging
package import Wire

/// How a client speaks TLS with endpoints whose scheme is `https`. With nothing set, the authorities that the system
/// trusts count, and the client presents no certificate.
public struct TLSOptions: Sendable, Hashable {
  /// A file in PEM with the authorities that may have signed the server's certificate. Nil for the system's.
  public var trustedCAFile: String?
  /// A file in PEM with the certificate that the client presents to a server that asks for one.
  public var certificateFile: String?
  /// A file in PEM with the key of `certificateFile`.
  public var keyFile: String?
  /// Takes any certificate, of anybody. Whoever sits between the two can then read and change everything.
  public var skipsVerification: Bool

  /// The files are read when they are needed, and again when they change.
  public init(
    trustedCAFile: String? = nil, certificateFile: String? = nil, keyFile: String? = nil,
    skipsVerification: Bool = false
  ) {
    self.trustedCAFile = trustedCAFile
    self.certificateFile = certificateFile
    self.keyFile = keyFile
    self.skipsVerification = skipsVerification
  }

  package var settings: TLSSettings {
    var settings = TLSSettings(
      certificateFile: certificateFile, keyFile: keyFile, trustedCAFile: trustedCAFile,
      applicationProtocols: TLSSettings.clientProtocols)
    settings.skipsVerification = skipsVerification
    return settings
  }

  /// - Throws: a status that `isTLSFailure`, with what is wrong with which file.
  package func source(logger: Logger) throws(RPCStatus) -> TLSSource {
    do {
      return try TLSSource(settings, .client, logger: logger)
    } catch {
      throw RPCStatus(unusable: error)
    }
  }
}
