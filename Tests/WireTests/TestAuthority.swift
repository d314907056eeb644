// Certificates that tests make for themselves, so that no key is ever checked in.

import Crypto
import Foundation
import X509

/// Somebody who signs certificates.
struct TestAuthority {
  private let key: Certificate.PrivateKey
  private let certificate: Certificate

  init(_ name: String = "test authority") throws {
    key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    let subject = try DistinguishedName { CommonName(name) }
    certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey,
      notValidBefore: Date(timeIntervalSinceNow: -3600), notValidAfter: Date(timeIntervalSinceNow: 24 * 3600),
      issuer: subject, subject: subject,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
        Critical(KeyUsage(digitalSignature: true, keyCertSign: true))
      }, issuerPrivateKey: key)
  }

  var pem: String { get throws { try certificate.serializeAsPEM().pemString + "\n" } }

  /// - Parameter validSeconds: from when to when it is valid, from now on.
  func issue(
    _ commonName: String, hosts: [String] = ["localhost"], addresses: [[UInt8]] = [[127, 0, 0, 1]],
    validSeconds: ClosedRange<Double> = -3600...3600
  ) throws -> TestCertificate {
    let own = P256.Signing.PrivateKey()
    let names = hosts.map { GeneralName.dnsName($0) } + addresses.map { .ipAddress(.init(contentBytes: $0[...])) }
    let issued = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: Certificate.PrivateKey(own).publicKey,
      notValidBefore: Date(timeIntervalSinceNow: validSeconds.lowerBound),
      notValidAfter: Date(timeIntervalSinceNow: validSeconds.upperBound), issuer: certificate.subject,
      subject: try DistinguishedName { CommonName(commonName) },
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage([.serverAuth, .clientAuth])
        SubjectAlternativeNames(names)
      }, issuerPrivateKey: key)
    return TestCertificate(pem: try issued.serializeAsPEM().pemString + "\n", key: own.pemRepresentation + "\n")
  }
}

struct TestCertificate {
  let pem: String
  let key: String
}

/// A directory with PEM files, which goes away with the test.
final class TestFiles: Sendable {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "/portcullis-tls-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Replaces a file in one step, as tools that renew certificates do.
  @discardableResult
  func write(_ text: String, _ name: String) throws -> String {
    let file = path + "/" + name
    try Data(text.utf8).write(to: URL(fileURLWithPath: file), options: .atomic)
    try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file)
    return file
  }

  /// Writes `NAME.pem` and `NAME.key`.
  func write(_ certificate: TestCertificate, _ name: String) throws -> (certificate: String, key: String) {
    (try write(certificate.pem, name + ".pem"), try write(certificate.key, name + ".key"))
  }
}
