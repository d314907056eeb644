// Calls with the metadata `hasleader: true`: they want to fail rather than wait where there is no leader, as clients do
// that could turn to another member (etcd's WithRequireLeader).

import NIOCore
import RaftCore
import Wire

struct RequiredLeader: Sendable {
  /// etcd looks once in an election timeout, and gives up a stream at the third look without a leader.
  private static let patienceInElections = 3

  let publication: Publication
  let electionMilliseconds: Int

  /// The same method, refused without a leader where the caller asks for that.
  func guarding(_ method: RPCMethod) -> RPCMethod {
    switch method {
    case .unary(let handler):
      .unary { [publication] call, body in
        guard !call.requiresLeader || publication.snapshot.leader != nil else { return call.fail(Self.noLeader) }
        handler(call, body)
      }
    case .streaming(let make):
      .streaming { call in
        guard call.requiresLeader else { return make(call) }
        guard publication.snapshot.leader != nil else {
          call.finish(Self.noLeader)
          return RefusedStream()
        }
        let patience = TimeAmount.milliseconds(Int64(Self.patienceInElections * electionMilliseconds))
        return LeaderWatch(call, over: make(call), publication: publication, patience: patience)
      }
    }
  }

  fileprivate static let noLeader = RPCStatus.etcd(.unavailable, "no leader")
}

/// Of a stream that was over before it began.
private final class RefusedStream: StreamHandler {
  func received(_ message: ByteBuffer) {}
  func halfClosed() {}
  func writable() {}
  func closed() {}
}

/// Passes everything on to a stream's handler, and ends the stream when there has been no leader for too long.
/// `@unchecked Sendable`: used on the call's event loop alone.
private final class LeaderWatch: @unchecked Sendable, StreamHandler {
  private let call: StreamCall
  private let handler: any StreamHandler
  private let publication: Publication
  private let patience: TimeAmount
  private var observer: Publication.ObserverID?
  private var timeout: Scheduled<Void>?

  init(_ call: StreamCall, over handler: any StreamHandler, publication: Publication, patience: TimeAmount) {
    self.call = call
    self.handler = handler
    self.publication = publication
    self.patience = patience
    observer = publication.observeLeader { [weak self] in
      guard let self else { return }
      call.eventLoop.execute { self.look() }
    }
    // Before it is known whether the stream is open, so that nothing is sent from within its making.
    call.eventLoop.execute { [self] in look() }
  }

  private func look() {
    guard observer != nil else { return }
    guard publication.snapshot.leader == nil else {
      timeout?.cancel()
      timeout = nil
      return
    }
    guard timeout == nil else { return }
    timeout = call.eventLoop.scheduleTask(in: patience) { [self] in giveUp() }
  }

  private func giveUp() {
    guard observer != nil else { return }
    stop()
    handler.closed()
    call.finish(RequiredLeader.noLeader)
  }

  private func stop() {
    if let observer { publication.endObserving(observer) }
    observer = nil
    timeout?.cancel()
    timeout = nil
  }

  func received(_ message: ByteBuffer) { handler.received(message) }
  func halfClosed() { handler.halfClosed() }
  func writable() { handler.writable() }

  func closed() {
    stop()
    handler.closed()
  }

  func draining(_ call: StreamCall) {
    stop()
    handler.draining(call)
  }
}
