// Every scenario that can be played, in the order of its number.

package enum Catalogue {
  package static let all: [any Scenario] = [
    PausedHolder(),
    PausedBeforeFirstWrite(),
    DelayedPackets(),
    LeaseEndsDuringRequest(),
    RaiseDuringStatement(),
    StoppedLeader(),
    HolderCutOff(),
    AnswersCutOff(),
    CutOffGateway(),
    JumpingClocks(),
    SuspendedMachine(),
    KilledAfterAcknowledgement(),
    KilledWhileWriting(),
    RestoredDatabase(),
    RestoredCore(),
    RepeatedRequest(),
    UnknownOutcome(),
    TwoGatewaysOneFile(),
    TwoGatewaysTwoCopies(),
    WriteAround(),
    BadTokens(),
    LostGrant(),
    LockMadeAgain(),
    HolderComesBack(),
    RenewalAtTheEnd(),
    SeveralScopes(),
    FailingDisk(),
    EdgeNumbers(),
    TwoVersions(),
    LaggingWatch(),
    LockSet(),
  ]

  /// - Throws: `ConformanceError` for a number that is none.
  package static func scenarios(_ numbers: [Int]) throws -> [any Scenario] {
    try numbers.map { number in
      guard let scenario = all.first(where: { $0.number == number }) else {
        throw ConformanceError(
          "there is no scenario \(number) to run; there are: \(all.map { "\($0.number)" }.joined(separator: ", "))")
      }
      return scenario
    }
  }
}
