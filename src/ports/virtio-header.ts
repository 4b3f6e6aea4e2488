// struct virtio_net_hdr (linux/virtio_net.h, virtio 1.2 §5.1.6): what stands in front of each packet between the kernel and
// a TUN device with IFF_VNET_HDR, or a packet socket with PACKET_VNET_HDR. It says what a network card would still have to
// do: work out a checksum, cut the packet into segments.

/** Bytes of the header, and the offsets of its fields. */
export const VIRTIO_BYTES = 10;
export const VIRTIO_FLAGS = 0;
export const VIRTIO_GSO_TYPE = 1;
export const VIRTIO_HEADER_LENGTH = 2;
export const VIRTIO_GSO_SIZE = 4;
export const VIRTIO_CHECKSUM_START = 6;
export const VIRTIO_CHECKSUM_OFFSET = 8;

/** Flag: the checksum field holds the sum of the pseudo-header, and the rest is to be added. */
export const NEEDS_CHECKSUM = 1;

/** Types of segmentation. */
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP = 5;
/** With TCP: the first segment alone keeps CWR (RFC 3168). */
export const GSO_ECN = 0x80;
