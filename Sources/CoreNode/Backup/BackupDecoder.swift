// Owns the reading of a backup file as it comes, piece by piece: what is handed on has passed its sums.
//
// Must never: trap on any bytes, hold more than a piece of them, or take a file for whole that lacks a byte or has one too
// many, whatever stands in it.

import Crypto
import Foundation

/// Why a file is no backup that can be used.
package enum BackupError: Error, Sendable, Equatable, CustomStringConvertible {
  case notABackup
  /// A later version of the program wrote it.
  case newerFormat(UInt32)
  case damaged(String)
  /// It ends before its end.
  case cutShort(bytes: UInt64)

  package var description: String {
    switch self {
    case .notABackup:
      "it is neither a backup of Portcullis nor a snapshot of etcd: name a file that `portcullis snapshot save` or"
        + " `etcdctl snapshot save` made"
    case .newerFormat(let version):
      "it has format \(version) and this version reads \(BackupFormat.version): use the newer version that wrote it"
    case .damaged(let what): "it is damaged: \(what). Use another copy"
    case .cutShort(let bytes): "it was cut short: it ends after \(bytes) bytes and has no end. Use another copy"
    }
  }
}

package struct BackupDecoder: Sendable {
  private enum Stage { case header, pieces, over }

  private var stage = Stage.header
  private var rest: [UInt8] = []
  private var hash = SHA256()
  private var headerSum: UInt32 = 0
  private var pieces: UInt64 = 0
  private var contentBytes: UInt64 = 0
  private var failure: BackupError?

  package private(set) var header: BackupHeader?
  /// Of the whole file.
  package private(set) var totalBytes: UInt64 = 0
  /// The file's own SHA-256, once all of it was read.
  package private(set) var checksum: [UInt8]?

  package init() {}

  /// Whether these bytes may be the beginning of a backup.
  package static func recognizes(_ start: [UInt8]) -> Bool { start.starts(with: BackupFormat.magic) }

  /// Takes the next bytes, any number of them. After an error every further call throws it again.
  /// - Returns: the content that is whole now.
  package mutating func take(_ bytes: [UInt8]) throws(BackupError) -> [[UInt8]] {
    if let failure { throw failure }
    totalBytes += UInt64(bytes.count)
    rest += bytes
    var content: [[UInt8]] = []
    do throws(BackupError) {
      var used = 0
      while try readRecord(at: &used, &content) {}
      rest.removeFirst(used)
    } catch {
      failure = error
      rest = []
      throw error
    }
    return content
  }

  /// Called when there are no more bytes: throws unless the file was whole.
  package mutating func finish() throws(BackupError) {
    if let failure { throw failure }
    if stage == .over { return }
    failure = header == nil && !Self.recognizes(rest) ? .notABackup : .cutShort(bytes: totalBytes)
    if let failure { throw failure }
  }

  /// Reads one record when it is there whole. False when more bytes are needed.
  private mutating func readRecord(at used: inout Int, _ content: inout [[UInt8]]) throws(BackupError) -> Bool {
    switch stage {
    case .over:
      guard used == rest.count else { throw .damaged("there are bytes behind its end") }
      return false
    case .header: return try readHeader(at: &used)
    case .pieces:
      guard rest.count - used >= BackupFormat.pieceHeaderBytes else { return false }
      let length: UInt32 = BackupFormat.number(rest[used..<(used + 4)])
      return length == 0 ? try readEnd(at: &used) : try readPiece(at: &used, Int(length), &content)
    }
  }

  private mutating func readHeader(at used: inout Int) throws(BackupError) -> Bool {
    let start = rest.prefix(BackupFormat.headerBytes)
    guard BackupFormat.magic.starts(with: start.prefix(BackupFormat.magic.count)) else { throw .notABackup }
    guard start.count == BackupFormat.headerBytes else { return false }
    let version: UInt32 = BackupFormat.number(start[8..<12])
    let length: UInt32 = BackupFormat.number(start[12..<16])
    guard length <= BackupFormat.maximumDescriptionBytes else { throw .damaged("its header is no backup's") }
    let end = BackupFormat.headerBytes + Int(length)
    guard rest.count >= end else { return false }
    let description = Array(rest[BackupFormat.headerBytes..<end])
    headerSum = BackupFormat.number(start[16..<20])
    guard headerSum == BackupFormat.sum(ofHeader: start[..<16], description) else {
      throw .damaged("its header does not check")
    }
    guard version == BackupFormat.version else { throw .newerFormat(version) }
    do {
      header = try JSONDecoder().decode(BackupHeader.self, from: Data(description))
    } catch {
      throw .damaged("its header cannot be read")
    }
    hash.update(data: rest[..<end])
    used = end
    stage = .pieces
    return true
  }

  private mutating func readPiece(
    at used: inout Int, _ length: Int, _ content: inout [[UInt8]]
  ) throws(BackupError) -> Bool {
    guard length <= BackupFormat.maximumPieceBytes else { throw .damaged("piece \(pieces) has an impossible length") }
    let body = used + BackupFormat.pieceHeaderBytes
    guard rest.count - body >= length else { return false }
    let piece = Array(rest[body..<(body + length)])
    let sum: UInt32 = BackupFormat.number(rest[(used + 4)..<body])
    guard sum == BackupFormat.sum(ofPiece: pieces, piece, headerSum: headerSum) else {
      throw .damaged("piece \(pieces), \(contentBytes) bytes into the state, does not check")
    }
    hash.update(data: rest[used..<(body + length)])
    used = body + length
    pieces += 1
    contentBytes += UInt64(length)
    content.append(piece)
    return true
  }

  private mutating func readEnd(at used: inout Int) throws(BackupError) -> Bool {
    guard rest.count - used >= BackupFormat.endBytes else { return false }
    let end = Array(rest[used..<(used + BackupFormat.endBytes)])
    let summed = BackupFormat.endBytes - BackupFormat.checksumBytes
    let sum: UInt32 = BackupFormat.number(end[4..<8])
    guard sum == BackupFormat.sum(ofEnd: Array(end[8..<summed]), headerSum: headerSum),
      contentBytes == BackupFormat.number(end[8..<16]), pieces == BackupFormat.number(end[16..<summed])
    else { throw .damaged("its end does not check") }
    hash.update(data: end[..<summed])
    let found = Array(hash.finalize())
    guard found == Array(end[summed...]) else { throw .damaged("its SHA-256 is not that of its bytes") }
    checksum = found
    used += BackupFormat.endBytes
    stage = .over
    return true
  }
}
