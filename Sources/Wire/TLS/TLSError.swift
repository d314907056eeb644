// What can go wrong with TLS, in words: with the files, and between two ends of a connection.

import NIOCore
import NIOPosix
import NIOSSL

/// Why files cannot be used, or why two ends did not agree.
package struct TLSError: Error, Sendable, Equatable, CustomStringConvertible {
  package enum Code: Sendable, Equatable {
    // Of the files.
    case unreadableFile, notPEM, keyMismatch, expired, notYetValid, badSettings
    // Of a connection.
    /// The certificate of the other end is signed by nobody that is trusted, or is not valid now.
    case untrusted
    /// It is valid for another host.
    case wrongHost
    /// The other end refused this end's certificate, or wants one and got none.
    case refusedByOtherEnd
    /// A client that must present a certificate presented none.
    case noCertificate
    /// The other end speaks something else than TLS.
    case notTLS
    /// No version, or no cipher suite, that both speak.
    case nothingInCommon
    /// The other end hung up or went silent before the two had agreed.
    case incomplete
    case other
  }

  package let code: Code
  package let description: String

  package init(_ code: Code, _ description: String) {
    self.code = code
    self.description = description
  }
}

extension TLSError {
  /// What was wrong with a connection that a client made, if it was TLS.
  package init?(of error: any Error) { self.init(error, .client) }

  /// A failed handshake, or an alert behind it, as the library reports it.
  /// - Parameter certificate: what the other end presented, where that is known.
  /// - Returns: nil for an error that is not of TLS.
  init?(_ error: any Error, _ role: TLSSettings.Role, presented certificate: NIOSSLCertificate? = nil) {
    switch error {
    case let error as TLSError:
      self = error
    case let error as NIOConnectionError:
      // A connection that could not even be prepared.
      guard let first = error.connectionErrors.first, let inner = TLSError(first.error, role) else { return nil }
      self = inner
    case let error as NIOSSLExtraError
    where error == .failedToValidateHostname || error == .serverHostnameImpossibleToMatch:
      self.init(
        .wrongHost, "the server's certificate is valid for other hosts: it was made for another name or address")
    case let error as NIOSSLExtraError where error == .invalidSNIHostname || error == .cannotUseIPAddressInSNI:
      self.init(.badSettings, "the host cannot be the name of a server in TLS")
    case NIOSSLError.handshakeFailed(let cause):
      self.init(.sslReason("\(cause)"), role, certificate)
    case let error as BoringSSLError:
      self.init(.sslReason("\(error)"), role, certificate)
    default:
      return nil
    }
  }

  /// The library has no codes for its reasons, only OpenSSL's names for them in a text.
  private struct Reason {
    let text: String

    static func sslReason(_ text: String) -> Reason { Reason(text: text) }

    func names(_ names: String...) -> Bool { names.contains { self.text.contains($0) } }
  }

  private init(_ reason: Reason, _ role: TLSSettings.Role, _ certificate: NIOSSLCertificate?) {
    let other = role == .server ? "client" : "server"
    if reason.names("CERTIFICATE_VERIFY_FAILED") {
      self.init(.untrusted, "the \(other)'s certificate \(Self.whyUntrusted(certificate))")
    } else if reason.names("PEER_DID_NOT_RETURN_A_CERTIFICATE") {
      self.init(.noCertificate, "the client presented no certificate, and this port asks for one")
    } else if reason.names("ALERT_CERTIFICATE_REQUIRED") {
      self.init(.refusedByOtherEnd, "the server asks for a client certificate, and none was given (--cert, --key)")
    } else if reason.names("ALERT_UNKNOWN_CA", "ALERT_UNKNOWN_CERTIFICATE_AUTHORITY") {
      self.init(.refusedByOtherEnd, "the \(other) does not trust the authority that signed this end's certificate")
    } else if reason.names("ALERT_CERTIFICATE_EXPIRED") {
      self.init(.refusedByOtherEnd, "the \(other) says that this end's certificate has expired")
    } else if reason.names("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_UNKNOWN", "ALERT_UNSUPPORTED_CERTIFICATE") {
      self.init(.refusedByOtherEnd, "the \(other) refused this end's certificate")
    } else if reason.names("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST") {
      self.init(.notTLS, "the \(other) speaks something else than TLS (http:// in place of https://?)")
    } else if reason.names("UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION") {
      self.init(.nothingInCommon, "the two ends have no version of TLS in common")
    } else if reason.names("NO_SHARED_CIPHER", "ALERT_HANDSHAKE_FAILURE", "NO_CIPHERS_AVAILABLE") {
      self.init(.nothingInCommon, "the two ends have no cipher suite in common, or the \(other) wants a certificate")
    } else if reason.names("EOF during handshake") {
      self.init(.incomplete, "the \(other) hung up during the TLS handshake (does it speak TLS?)")
    } else {
      self.init(.other, "the TLS handshake failed: \(reason.text)")
    }
  }

  /// The library says that a certificate is not trusted and keeps why to itself; its dates at least can be looked at.
  private static func whyUntrusted(_ certificate: NIOSSLCertificate?) -> String {
    let unknown = "is not signed by an authority that is trusted here"
    guard let certificate else { return "\(unknown), or is not valid now" }
    let now = WallClock.now()
    // The library counts its last second as over.
    if certificate.notValidAfter <= now { return "expired at \(WallClock.text(certificate.notValidAfter))" }
    if certificate.notValidBefore > now { return "is not valid before \(WallClock.text(certificate.notValidBefore))" }
    return unknown
  }
}

extension RPCStatus {
  private static let tlsTrailer = "portcullis-tls"

  /// Of a client's connection that failed for a reason of TLS's.
  static func tls(_ error: TLSError, to authority: String) -> RPCStatus {
    RPCStatus(
      code: .unavailable, message: "cannot speak TLS with \(authority): \(error)",
      trailers: [Trailer(name: tlsTrailer, value: "failed")])
  }

  /// Of a client whose own files or endpoint cannot be used.
  package init(unusable error: TLSError) {
    self.init(
      code: .unavailable, message: error.description, trailers: [Trailer(name: Self.tlsTrailer, value: "failed")])
  }

  /// Whether the two ends did not agree on TLS, so that trying again leads nowhere.
  package var isTLSFailure: Bool { self.trailer(Self.tlsTrailer) != nil }
}
