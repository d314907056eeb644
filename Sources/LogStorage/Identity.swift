// Owns what says whose log a directory holds, and the settings that a log is opened with.

package import RaftCore

/// Whose log a directory holds. It is written once, when the directory is made, and checked at every opening.
///
/// A node that opened another node's log would vote twice in one term; one that opened another cluster's would bring
/// foreign entries in.
package struct Identity: Sendable, Equatable, CustomStringConvertible {
  package var clusterID: UInt64
  package var nodeID: NodeID
  /// Raised by a restore and by forcing a new cluster, so that what was said before no longer counts.
  package var incarnation: UInt64

  package init(clusterID: UInt64, nodeID: NodeID, incarnation: UInt64) {
    self.clusterID = clusterID
    self.nodeID = nodeID
    self.incarnation = incarnation
  }

  package var description: String {
    "node \(hexadecimal(nodeID.rawValue)) of cluster \(hexadecimal(clusterID)), incarnation \(incarnation)"
  }
}

/// Identifiers are shown as etcd shows them: hexadecimal without a prefix.
func hexadecimal(_ value: UInt64) -> String {
  String(value, radix: 16)
}

extension LogStorage {
  /// What a log is opened with. The defaults are right for a node; tests and measurements choose smaller maps.
  package struct Options: Sendable, Equatable {
    /// Address space taken for the map at first. The file itself grows only as it is written.
    package var mapBytes: Int
    /// The map grows up to here, and no entry is accepted that would not fit beyond it.
    package var maximumMapBytes: Int
    /// Kept free below `maximumMapBytes`, because cutting entries away takes new pages too (LMDB copies on write).
    package var reserveBytes: Int
    /// The file is made longer by this much at a time, ahead of its use; with 0, by each commit as it needs.
    package var fileStepBytes: Int
    /// Blocks that the data file holds beyond its use, so that votes, cuts and removals find room on a full disk.
    package var diskReserveBytes: Int
    /// With less than this left on the disk no entries are to be taken.
    package var minimumFreeBytes: Int
    /// The length of the journal, for a log that has none yet; a longer one that is there stays as long.
    package var journalBytes: Int
    /// How many of the newest entries are handed over in `Restored.tail`, at most.
    package var tailEntries: Int
    /// How many bytes of payload `Restored.tail` has, at most.
    package var tailBytes: Int
    /// A longer suffix than this is cut in several transactions.
    package var truncationStepEntries: Int
    /// Refuses a damaged log instead of cutting it and remembering the damage. For a node that has nobody to get the
    /// lost entries from.
    package var refusesDamage: Bool

    package init(
      mapBytes: Int = 16 << 30, maximumMapBytes: Int = 1 << 40, reserveBytes: Int = 16 << 20,
      fileStepBytes: Int = 4 << 20, diskReserveBytes: Int = 16 << 20, minimumFreeBytes: Int = 16 << 20,
      journalBytes: Int = 8 << 20, tailEntries: Int = 65_536, tailBytes: Int = 64 << 20,
      truncationStepEntries: Int = 1024, refusesDamage: Bool = false
    ) {
      precondition(mapBytes > 0 && maximumMapBytes >= mapBytes, "the map's limit is below its size")
      precondition(reserveBytes >= 0 && fileStepBytes >= 0 && tailEntries >= 0 && tailBytes >= 0, "a bound is negative")
      precondition(diskReserveBytes >= 0 && minimumFreeBytes >= 0, "a bound is negative")
      precondition(journalBytes >= 1 << 16, "a journal needs room for some records")
      precondition(truncationStepEntries > 0, "a truncation step removes nothing")
      self.mapBytes = mapBytes
      self.maximumMapBytes = maximumMapBytes
      self.reserveBytes = reserveBytes
      self.fileStepBytes = fileStepBytes
      self.diskReserveBytes = diskReserveBytes
      self.minimumFreeBytes = minimumFreeBytes
      self.journalBytes = journalBytes
      self.tailEntries = tailEntries
      self.tailBytes = tailBytes
      self.truncationStepEntries = truncationStepEntries
      self.refusesDamage = refusesDamage
    }
  }
}
