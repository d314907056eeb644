// A certificate that a node makes for itself (`--auto-tls`). It hides what is said from those who listen, and proves to
// nobody who says it, unless the certificate itself is given to the clients.

import Crypto
package import Foundation
import Glibc
import NIOSSL
import X509

package enum SelfSignedCertificate {
  /// - Parameter hosts: names and addresses that it is for.
  /// - Returns: certificate and key in PEM.
  package static func make(
    hosts: [String], validFor years: Int, now: Date = Date()
  ) throws -> (certificate: String, key: String) {
    let key = P256.Signing.PrivateKey()
    let signer = Certificate.PrivateKey(key)
    let name = try DistinguishedName {
      OrganizationName("portcullis")
      CommonName(hosts.first ?? "portcullis")
    }
    let certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: signer.publicKey,
      // A clock that is a little behind is no reason to refuse a certificate that was made just now.
      notValidBefore: now.addingTimeInterval(-300),
      notValidAfter: now.addingTimeInterval(Double(years) * 365 * 24 * 3600), issuer: name, subject: name,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        // Without a list of what the key is for: one that leaves signing certificates out would keep the certificate from
        // counting as its own issuer, and clients could not be given it to trust.
        try ExtendedKeyUsage([.serverAuth, .clientAuth])
        SubjectAlternativeNames(generalNames(of: hosts))
      }, issuerPrivateKey: signer)
    return (try certificate.serializeAsPEM().pemString + "\n", key.pemRepresentation + "\n")
  }

  /// Whether the files that settings name hold a certificate with its key that is valid until then.
  package static func isUsable(_ settings: TLSSettings, until date: Date) -> Bool {
    guard let material = try? TLSMaterial.read(settings), (try? material.context(settings, .server)) != nil else {
      return false
    }
    return material.chain.first.map { $0.notValidAfter >= time_t(date.timeIntervalSince1970) } ?? false
  }

  private static func generalNames(of hosts: [String]) -> [GeneralName] {
    hosts.map { host in
      IPAddressBytes.of(host).map { .ipAddress(.init(contentBytes: $0[...])) } ?? .dnsName(host)
    }
  }
}

enum IPAddressBytes {
  /// The 4 or 16 bytes of an address, or nil for a name.
  static func of(_ host: String) -> [UInt8]? {
    for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
      var bytes = [UInt8](repeating: 0, count: count)
      if inet_pton(family, host, &bytes) == 1 { return bytes }
    }
    return nil
  }
}
