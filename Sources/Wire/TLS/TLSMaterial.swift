// What is read from the files that settings name, checked: that it is PEM, that it is valid now, and that it can be told
// from the files whether they changed.

import Glibc
import NIOSSL

/// Certificates and a key. Equal where the files say the same.
struct TLSMaterial: Equatable {
  var chain: [NIOSSLCertificate] = []
  var key: NIOSSLPrivateKey?
  var roots: [NIOSSLCertificate]?

  /// Reads every file; blocks.
  static func read(_ settings: TLSSettings) throws(TLSError) -> TLSMaterial {
    var material = TLSMaterial()
    switch (settings.certificateFile, settings.keyFile) {
    case (nil, nil): break
    case (.some(let certificate), nil):
      throw TLSError(.badSettings, "the certificate \(certificate) is given without its key")
    case (nil, .some(let key)):
      throw TLSError(.badSettings, "the key \(key) is given without its certificate")
    case (.some(let certificateFile), .some(let keyFile)):
      material.chain = try certificates("the certificate", certificateFile)
      try checkDates(of: material.chain[0], certificateFile)
      material.key = try key(keyFile)
    }
    if let path = settings.trustedCAFile { material.roots = try certificates("the trusted authorities", path) }
    return material
  }

  /// The context of connections with this material.
  func context(_ settings: TLSSettings, _ role: TLSSettings.Role) throws(TLSError) -> NIOSSLContext {
    let configuration = try settings.configuration(role, self)
    do {
      return try NIOSSLContext(configuration: configuration)
    } catch {
      let text = "\(error)"
      guard let certificate = settings.certificateFile, let key = settings.keyFile else {
        throw TLSError(.other, "TLS cannot be set up: \(text)")
      }
      if text.contains("MISMATCH") || text.contains("failedToLoadPrivateKey") {
        throw TLSError(.keyMismatch, "the key \(key) does not belong to the certificate \(certificate)")
      }
      throw TLSError(.other, "TLS cannot be set up with the certificate \(certificate) and the key \(key): \(text)")
    }
  }

  private static func certificates(_ what: String, _ path: String) throws(TLSError) -> [NIOSSLCertificate] {
    let bytes = try bytes(what, path)
    guard let found = try? NIOSSLCertificate.fromPEMBytes(bytes), !found.isEmpty else {
      throw TLSError(.notPEM, "\(what) \(path): the file holds no certificate in PEM")
    }
    return found
  }

  private static func key(_ path: String) throws(TLSError) -> NIOSSLPrivateKey {
    let bytes = try bytes("the key", path)
    guard let key = try? NIOSSLPrivateKey(bytes: bytes, format: .pem) else {
      throw TLSError(
        .notPEM, "the key \(path): the file holds no private key in PEM that is readable without a password")
    }
    return key
  }

  private static func checkDates(of certificate: NIOSSLCertificate, _ path: String) throws(TLSError) {
    let now = WallClock.now()
    guard certificate.notValidAfter > now else {
      throw TLSError(.expired, "the certificate \(path) expired at \(WallClock.text(certificate.notValidAfter))")
    }
    guard certificate.notValidBefore <= now else {
      throw TLSError(
        .notYetValid, "the certificate \(path) is not valid before \(WallClock.text(certificate.notValidBefore))")
    }
  }

  /// No bundle of authorities is larger.
  private static let maxFileBytes = 16 << 20

  private static func bytes(_ what: String, _ path: String) throws(TLSError) -> [UInt8] {
    func failure() -> TLSError { TLSError(.unreadableFile, "\(what) \(path): \(String(cString: strerror(errno)))") }
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw failure() }
    defer { close(file) }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = Glibc.read(file, &piece, piece.count)
      guard count >= 0 else { throw failure() }
      if count == 0 { return bytes }
      bytes += piece[..<count]
      guard bytes.count <= maxFileBytes else {
        throw TLSError(.notPEM, "\(what) \(path): the file is no PEM of this size")
      }
    }
  }
}

/// By what it can be told that a file is another one, or another version, without reading it.
struct FileStamp: Equatable {
  private var inode: UInt64 = 0
  private var size: Int64 = -1
  private var modified: [Int] = []

  /// Follows links, as reading does: what Kubernetes mounts is switched by a link.
  init(_ path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return }
    inode = UInt64(status.st_ino)
    size = Int64(status.st_size)
    modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
  }

  /// Whether the file was changed so recently that a change just behind it may carry the same time.
  func isYoung(at now: time_t) -> Bool { modified.isEmpty || now - modified[0] < 2 || now - modified[2] < 2 }

  static func of(_ settings: TLSSettings) -> [FileStamp] {
    [settings.certificateFile, settings.keyFile, settings.trustedCAFile].compactMap { $0 }.map { FileStamp($0) }
  }

  /// Whether users other than the owner and the group may read the file.
  static func isReadableByOthers(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IROTH != 0
  }
}

/// The time of day, which certificates go by.
enum WallClock {
  static func now() -> time_t { time(nil) }

  /// As in `2026-11-28T04:20:00Z`.
  static func text(_ seconds: time_t) -> String {
    var (seconds, parts) = (seconds, tm())
    gmtime_r(&seconds, &parts)
    var buffer = [CChar](repeating: 0, count: 32)
    let count = strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
    return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
