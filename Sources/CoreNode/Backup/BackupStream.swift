// etcd's Snapshot call: the store as a file of etcd's, in pieces, and its SHA-256 behind it.

import CoordinationCore
import Crypto
import Foundation
import NIOCore
import NIOPosix
import Protocol
import Wire

/// `@unchecked Sendable`: used on the call's event loop alone; laying the file out, which reads the whole state, is done
/// on a thread beside it.
final class BackupStream: @unchecked Sendable, StreamHandler {
  private static let pieceBytes = 32 * 1024

  private let call: StreamCall
  private let core: CoreAccess
  private var writer: BoltWriter?
  private var remaining = 0
  private var hash = SHA256()
  private var hasBegun = false
  private var isClosed = false

  init(_ call: StreamCall, core: CoreAccess) {
    self.call = call
    self.core = core
  }

  func received(_ message: ByteBuffer) {
    guard !hasBegun, call.decode(Etcdserverpb_SnapshotRequest.self, from: message) != nil else { return }
    hasBegun = true
    let snapshot = core.publication.snapshot
    do throws(RequestError) {
      try core.checkRoot(call, in: snapshot)
    } catch {
      closed()
      return call.finish(RPCStatus(error))
    }
    let laidOut = NIOThreadPool.singleton.runIfActive(eventLoop: call.eventLoop) {
      EtcdBackup.file(of: snapshot.state, index: snapshot.applied.rawValue, term: snapshot.term.rawValue)
    }
    laidOut.whenComplete { [self] result in
      guard !isClosed else { return }
      guard case .success(let file) = result else {
        closed()
        return call.finish(.stopping)
      }
      remaining = file.sizeBytes
      writer = BoltWriter(file)
      pump()
    }
  }

  /// Sends while the caller has room: what waits for it stays bounded.
  private func pump() {
    while !isClosed, writer != nil, call.isWritable {
      var piece: [UInt8] = []
      while piece.count < Self.pieceBytes, let pages = writer?.next() { piece += pages }
      guard !piece.isEmpty else { return end() }
      hash.update(data: piece)
      remaining -= piece.count
      send(Data(piece))
    }
  }

  private func end() {
    precondition(remaining == 0, "a file is as long as it was laid out")
    send(Data(hash.finalize()))
    closed()
    call.finish()
  }

  private func send(_ blob: Data) {
    var response = Etcdserverpb_SnapshotResponse()
    response.remainingBytes = UInt64(remaining)
    response.blob = blob
    _ = call.send(response)
  }

  func halfClosed() {}
  func writable() { pump() }

  func closed() {
    isClosed = true
    writer = nil
  }
}
