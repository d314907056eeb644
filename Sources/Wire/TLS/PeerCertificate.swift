// What is taken from the certificate of the other end: its common name, and the hosts that it is for.

import NIOSSL
import X509

/// A certificate that was verified.
package struct PeerCertificate: Sendable {
  /// The last common name of the subject, which is the one that etcd takes for a user's name; nil where there is none.
  package let commonName: String?
  private let hosts: [GeneralName]

  /// Nil for what cannot be read, though it was verified.
  init?(_ certificate: NIOSSLCertificate) {
    guard let bytes = try? certificate.toDERBytes(), let parsed = try? Certificate(derEncoded: bytes) else {
      return nil
    }
    let attributes = parsed.subject.flatMap { Array($0) }
    let name = attributes.last { $0.type == .RDNAttributeType.commonName }
    commonName = name.flatMap { String($0.value) }
    hosts = (try? parsed.extensions.subjectAlternativeNames).map { $0.map { Array($0) } ?? [] } ?? []
  }

  /// Whether the certificate is for a host. A name may be covered by a wildcard in its first label (RFC 6125, section
  /// 6.4.3).
  package func isFor(host: String) -> Bool {
    let wanted = host.lowercased()
    let address = IPAddressBytes.of(host)
    return hosts.contains { name in
      switch name {
      case .dnsName(let name): address == nil && Self.covers(name.lowercased(), wanted)
      case .ipAddress(let bytes): address.map { Array(bytes.bytes) == $0 } ?? false
      default: false
      }
    }
  }

  private static func covers(_ pattern: String, _ host: String) -> Bool {
    guard pattern.hasPrefix("*.") else { return pattern == host }
    guard let dot = host.firstIndex(of: "."), dot > host.startIndex else { return false }
    return host[dot...] == pattern.dropFirst()
  }

  /// Why settings do not allow this certificate, or nil.
  func refusal(by settings: TLSSettings) -> String? {
    if let wanted = settings.allowedCommonName, commonName != wanted {
      return
        "its certificate has the common name \(commonName.map { "\"\($0)\"" } ?? "of nobody"), and only \"\(wanted)\" is allowed"
    }
    if let wanted = settings.allowedHostname, !isFor(host: wanted) {
      return "its certificate is not for the host \(wanted)"
    }
    return nil
  }
}
