// Gets of one key each, which was put before the load.

import Measurement
import NIOCore
import Protocol
import Wire

final class GetDriver: LoadDriver {
  private let template: RangeTemplate
  private var keys: KeySequence
  private let oracle: RevisionOracle
  private let isSerializable: Bool

  init(_ plan: LoadPlan, _ place: LoopPlace, _ oracle: RevisionOracle, isSerializable: Bool) {
    template = RangeTemplate(
      keyPrefix: plan.configuration.keyPrefix, keySizeBytes: plan.configuration.keySizeBytes,
      isSerializable: isSerializable)
    keys = KeySequence(plan.configuration, place)
    self.oracle = oracle
    self.isSerializable = isSerializable
  }

  func start(_ call: OperationCall, on connection: WireConnection, lane: Int, _ sink: any OperationSink) {
    // A serializable read may be behind; that it answers with a revision at all is what can be asked of it.
    let before = isSerializable ? 0 : oracle.highest
    let key = keys.next()
    let oracle = NIOLoopBound(oracle, eventLoop: connection.eventLoop)
    connection.unary(RPCPath.KV.range, template.request(forKey: key)) { result in
      sink.ended(
        call.ticket,
        OperationEnding(result) { answer in
          let found = RangeAnswer(answer)
          var violation = oracle.value.checkRead(found.revision, after: before)
          if violation == nil, found.count != 1 {
            violation = "key \(key), which was put before the load, was found \(found.count) times"
          }
          return OperationEnding(.succeeded, violation: violation)
        })
    }
  }
}
