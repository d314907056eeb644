// portcullis.v1's Backup: the whole replicated state, as one instant of it, in the pieces of a backup file.
//
// A piece is encoded on a thread beside the event loops when the caller has room for it, and no faster than what is sent to
// followers from a snapshot: a backup may take long and must not be noticed by those who put and get.

import CoordinationCore
import Foundation
import NIOCore
import NIOPosix
import Protocol
import Synchronization
import Wire

struct BackupService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [RPCPath.Backup.save: .streaming { [core] call in SaveStream(call, core: core) }]
  }
}

/// `@unchecked Sendable`: used on the call's event loop alone, but for the encoder, which has a lock.
final class SaveStream: @unchecked Sendable, StreamHandler {
  private final class Encoder: Sendable {
    private let encoder: Mutex<BackupEncoder>

    init(_ encoder: BackupEncoder) { self.encoder = Mutex(encoder) }

    func next() throws -> [UInt8]? { try encoder.withLock { try $0.next() } }
  }

  private let call: StreamCall
  private let core: CoreAccess
  private var encoder: Encoder?
  private var hold: StateHold?
  private var first: Portcullis_V1_SaveResponse?
  private var hasBegun = false
  private var isEncoding = false
  private var isClosed = false
  private var dueAt = NIODeadline.now()

  init(_ call: StreamCall, core: CoreAccess) {
    self.call = call
    self.core = core
  }

  func received(_ message: ByteBuffer) {
    guard !hasBegun, let request = call.decode(Portcullis_V1_SaveRequest.self, from: message) else { return }
    hasBegun = true
    if request.serializable { return begin(core.publication.snapshot) }
    core.readLinearizably(on: call.eventLoop) { [self] result in
      guard !isClosed else { return }
      switch result {
      case .failure(let failure): end(RPCStatus(failure))
      case .success(let snapshot): begin(snapshot)
      }
    }
  }

  private func begin(_ snapshot: Snapshot) {
    // It is everything, users and their passwords' hashes among it.
    do throws(RequestError) {
      try core.checkRoot(call, in: snapshot)
    } catch {
      return end(RPCStatus(error))
    }
    hold = StateHold(core, on: call.eventLoop) { [self] status in end(status) }
    guard hold != nil else { return end(StateHold.tooMany(core)) }
    encoder = Encoder(BackupEncoder(snapshot.state, BackupHeader(snapshot, of: core)))
    var response = Portcullis_V1_SaveResponse()
    response.evidence = core.evidence(snapshot)
    response.estimatedBytes = UInt64(snapshot.state.store.sizeBytes)
    first = response
    pump()
  }

  private func pump() {
    guard !isClosed, !isEncoding, dueAt <= .now(), let encoder, call.isWritable else { return }
    isEncoding = true
    let piece = NIOThreadPool.singleton.runIfActive(eventLoop: call.eventLoop) { try encoder.next() }
    piece.whenComplete { [self] result in
      isEncoding = false
      guard !isClosed else { return }
      switch result {
      case .failure(let error): end(RPCStatus(.internalError, "the state could not be written: \(error)"))
      case .success(nil): end(nil)
      case .success(let piece?): send(piece)
      }
    }
  }

  private func send(_ piece: [UInt8]) {
    var response = first ?? Portcullis_V1_SaveResponse()
    first = nil
    response.blob = Data(piece)
    hold?.moved()
    _ = call.send(response)
    let nanoseconds = Int64(piece.count) * 1_000_000_000 / Int64(core.configuration.limits.transferBytesPerSecond)
    dueAt = max(dueAt, .now()) + .nanoseconds(nanoseconds)
    call.eventLoop.assumeIsolated().scheduleTask(deadline: dueAt) { [self] in pump() }
  }

  private func end(_ status: RPCStatus?) {
    guard !isClosed else { return }
    closed()
    call.finish(status)
  }

  func halfClosed() {}
  func writable() { pump() }

  func closed() {
    isClosed = true
    hold?.release()
    hold = nil
    encoder = nil
  }
}
