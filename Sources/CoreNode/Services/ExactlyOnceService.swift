// portcullis.v1.ExactlyOnce, and how a write says that it is to be carried out once: by metadata that any gRPC client can
// send with etcd's own calls.

import CoordinationCore
import NIOCore
import Protocol
import Wire

struct ExactlyOnceService: Sendable {
  let core: CoreAccess

  var routes: [String: RPCMethod] {
    [RPCPath.ExactlyOnce.openClient: .unary(open)]
  }

  @Sendable private func open(_ call: UnaryCall, _ body: ByteBuffer) {
    guard let message = call.decode(Portcullis_V1_OpenClientRequest.self, from: body) else { return }
    guard message.ttlMs > 0 else {
      return call.fail(RPCStatus(code: .invalidArgument, message: "a client needs a time to live (ttl_ms) above 0"))
    }
    let caller: Caller?
    do throws(RPCStatus) { caller = try core.caller(of: call) } catch { return call.fail(error) }
    core.submit(.openClient(ttlMilliseconds: message.ttlMs), by: caller, on: call.eventLoop) { [core] answer in
      call.answer(answer) { outcome, snapshot in
        guard case .clientOpened(let id, let ttlMilliseconds) = outcome else {
          preconditionFailure("opening a client ends with a client")
        }
        var response = Portcullis_V1_OpenClientResponse()
        response.evidence = core.evidence(snapshot)
        response.client = id
        response.ttlMs = ttlMilliseconds
        call.respond(response)
      }
    }
  }
}

extension ServerCall {
  static var clientHeader: String { "portcullis-client" }
  static var sequenceHeader: String { "portcullis-sequence" }

  /// The name under which this write is carried out once; nil when it has none.
  func requestName() throws(RPCStatus) -> ClientSequence? {
    // Nearly every call: one flag, and no look at its headers.
    guard hasOwnMetadata else { return nil }
    let (client, sequence) = (metadata(Self.clientHeader), metadata(Self.sequenceHeader))
    guard client != nil || sequence != nil else { return nil }
    guard let client = client.flatMap(UInt64.init), let sequence = sequence.flatMap(UInt64.init), sequence > 0 else {
      throw RPCStatus(
        code: .invalidArgument,
        message: "\(Self.clientHeader) and \(Self.sequenceHeader) go together and are numbers, the sequence above 0")
    }
    return ClientSequence(client: client, sequence: sequence)
  }
}

extension UnaryCall {
  /// Proposes what the call asks for, once where it says so, and hands on the outcome or fails the call.
  /// `body` gets the outcome, the snapshot that shows it, and the revision which the command made, or met if it changed
  /// nothing. The snapshot may be of a later one.
  func submit(
    _ command: Command, to core: CoreAccess, _ body: @escaping @Sendable (Outcome, Snapshot, Revision) -> Void
  ) {
    do throws(RPCStatus) {
      let name = try requestName()
      let fence = try core.fences.fence(of: self, core: core)
      if let caller = try core.caller(of: self) {
        return submit(command, to: core, named: name, by: caller, fence: fence, body)
      }
      core.submit(command, named: name, fence: fence, on: eventLoop) { self.finish($0, fence, body) }
    } catch {
      fail(error)
    }
  }

  private func submit(
    _ command: Command, to core: CoreAccess, named name: ClientSequence?, by caller: Caller, fence: GrantFence?,
    _ body: @escaping @Sendable (Outcome, Snapshot, Revision) -> Void
  ) {
    core.submit(command, named: name, by: caller, fence: fence, on: eventLoop) { answer in
      if !self.isCancelled, let again = core.caller(of: self, after: answer, by: caller) {
        return self.submit(command, to: core, named: name, by: again, fence: fence, body)
      }
      self.finish(answer, fence, body)
    }
  }

  private func finish(_ answer: Answer, _ fence: GrantFence?, _ body: (Outcome, Snapshot, Revision) -> Void) {
    // A release that is refused without a fence is an answer of its own.
    if let fence, case .applied(.refused(let refusal), _, _) = answer { return fail(RPCStatus(stale: fence, refusal)) }
    self.answer(answer) { outcome, snapshot in body(outcome, snapshot, answer.revision ?? snapshot.state.revision) }
  }
}
