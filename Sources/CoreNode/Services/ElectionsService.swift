// portcullis.v1.Elections: leadership is a grant, what the leader says of itself goes with it, and both are read together.

import CoordinationCore
import Foundation
import NIOCore
import Protocol
import Wire

struct ElectionsService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [
      RPCPath.Elections.campaign: .unary { [core] call, body in AcquireCall(core: core).receive(call, body) },
      RPCPath.Elections.proclaim: .unary(proclaim),
      RPCPath.Elections.leader: .unary(leader),
      RPCPath.Elections.resign: .unary { [core] call, body in AuthorityService(core: core).release(call, body) },
      RPCPath.Elections.observe: .streaming { [core] call in LeaderStream(call, core: core) },
    ]
  }

  @Sendable private func proclaim(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_ProclaimRequest.self, from: body) else { return }
    guard message.value.count <= AcquireCall.longestValue else {
      return call.fail(
        RPCStatus(
          code: .invalidArgument,
          message: "value may have \(AcquireCall.longestValue) bytes, this one has \(message.value.count)"))
    }
    let scope = Key(Bytes(message.scope.utf8))
    let command = Command.proclaim(scope: scope, number: message.number, value: Bytes(message.value))
    call.submit(command, to: core) { [core] outcome, snapshot, _ in
      var response = Portcullis_V1_ProclaimResponse()
      response.evidence = core.evidence(snapshot)
      switch outcome {
      case .proclaimed(let record):
        response.leader = core.grant(record, snapshot)
        response.leader.value = message.value
      case .refused(let refusal): response.refused = core.refusal(refusal, snapshot)
      default: preconditionFailure("a proclamation ends proclaimed or refused")
      }
      call.respond(response)
    }
  }

  @Sendable private func leader(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_LeaderRequest.self, from: body) else { return }
    let scope = Key(Bytes(message.scope.utf8))
    call.read(core) { [core] snapshot in
      do throws(RequestError) {
        try core.checkRead(KeyRange(start: scope, end: .single), by: call, in: snapshot)
      } catch {
        return call.fail(RPCStatus(error))
      }
      call.respond(core.leader(of: scope, snapshot))
    }
  }
}

extension CoreAccess {
  func leader(of scope: Key, _ snapshot: Snapshot) -> Portcullis_V1_LeaderResponse {
    var response = Portcullis_V1_LeaderResponse()
    response.evidence = evidence(snapshot)
    guard let state = snapshot.state.scopes[scope] else { return response }
    if let holder = state.holder { response.leader = grant(holder, snapshot) }
    response.lastNumber = state.lastNumber
    return response
  }
}

/// One Observe stream. `@unchecked Sendable`: all but what the hub calls, which only hands over, runs on the connection's
/// event loop.
private final class LeaderStream: @unchecked Sendable, StreamHandler {
  private let call: StreamCall
  private let core: CoreAccess
  private var scope: Key?
  private var stopObserving: () -> Void = {}
  private var isClosed = false
  private var isLooking = false
  /// What was told last: whose number, and what it said. Nil before the first.
  private var told: (number: Revision, value: Data)?

  init(_ call: StreamCall, core: CoreAccess) {
    self.call = call
    self.core = core
  }

  func received(_ message: ByteBuffer) {
    guard scope == nil else {
      call.finish(RPCStatus(code: .invalidArgument, message: "one message says what to observe, and this is a second"))
      return closed()
    }
    guard let request = call.decode(Portcullis_V1_LeaderRequest.self, from: message) else { return closed() }
    let scope = Key(Bytes(request.scope.utf8))
    self.scope = scope
    // First a place to be told at, then a look: what happens in between is not missed.
    let id = core.holds.observe(scope) { [weak self] in self?.lookSoon() }
    stopObserving = { [core] in core.holds.endObserving(scope, id) }
    core.readLinearizably(on: call.eventLoop) { [self] result in
      guard !isClosed else { return }
      switch result {
      case .failure(let failure): fail(RPCStatus(failure))
      case .success(let snapshot):
        do throws(RequestError) {
          try core.checkRead(KeyRange(start: scope, end: .single), by: call, in: snapshot)
        } catch {
          return fail(RPCStatus(error))
        }
        isLooking = true
        tell(snapshot)
      }
    }
  }

  private func lookSoon() {
    call.eventLoop.execute { [self] in
      if isLooking, !isClosed { tell(core.publication.snapshot) }
    }
  }

  private func tell(_ snapshot: Snapshot) {
    guard let scope, call.isWritable else { return }
    let response = core.leader(of: scope, snapshot)
    let now = response.hasLeader ? (response.leader.number, response.leader.value) : (0, Data())
    if let told, told == now { return }
    told = now
    _ = call.send(response)
  }

  private func fail(_ status: RPCStatus) {
    call.finish(status)
    closed()
  }

  /// The caller has nothing more to ask and waits for answers.
  func halfClosed() {}
  func writable() { if isLooking, !isClosed { tell(core.publication.snapshot) } }

  func closed() {
    isClosed = true
    stopObserving()
    stopObserving = {}
  }
}
