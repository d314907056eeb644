// Puts, of which only the revision is read.

import Measurement
import NIOCore
import Protocol
import Wire

final class PutDriver: LoadDriver {
  private let template: PutTemplate
  private var keys: KeySequence
  private let oracle: RevisionOracle

  init(_ plan: LoadPlan, _ place: LoopPlace, _ oracle: RevisionOracle) {
    template = PutTemplate(plan.configuration)
    keys = KeySequence(plan.configuration, place)
    self.oracle = oracle
  }

  func start(_ call: OperationCall, on connection: WireConnection, lane: Int, _ sink: any OperationSink) {
    let before = oracle.highest
    let oracle = NIOLoopBound(oracle, eventLoop: connection.eventLoop)
    connection.unary(RPCPath.KV.put, template.request(forKey: keys.next())) { result in
      sink.ended(
        call.ticket,
        OperationEnding(result) { answer in
          OperationEnding(
            .succeeded, violation: oracle.value.checkWrite(PutAnswer.revision(in: answer), after: before))
        })
    }
  }
}

extension OperationEnding {
  /// By an answer that is looked at, or by a failure.
  init(_ result: Result<ByteBuffer, RPCStatus>, _ judge: (ByteBuffer) -> OperationEnding) {
    switch result {
    case .success(let answer): self = judge(answer)
    case .failure(let status): self.init(.failed(status))
    }
  }
}

extension PutTemplate {
  init(_ configuration: LoadConfiguration) {
    self.init(
      keyPrefix: configuration.keyPrefix, keySizeBytes: configuration.keySizeBytes,
      valueSizeBytes: configuration.valueSizeBytes, seed: configuration.seed)
  }
}

extension KeySequence {
  init(_ configuration: LoadConfiguration, _ place: LoopPlace) {
    self.init(
      order: configuration.keyOrder, count: configuration.keyCount, seed: configuration.seed, loop: place.index,
      loops: place.count)
  }
}
