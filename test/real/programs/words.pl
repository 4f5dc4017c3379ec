# Builds words, counts them in a hash, and says what the timer did in the first and second half.
use strict;
use warnings;
use Time::HiRes qw(setitimer ITIMER_REAL);

$| = 1;
my ($x, $ticks, %count, @half) = (1, 0);
$SIG{ALRM} = sub { $ticks++ };
setitimer(ITIMER_REAL, 0.01, 0.01);

for my $round (1 .. 120) {
	for (1 .. 12000) {
		$x = ($x * 1103515245 + 12345) % 2147483648;
		(my $word = "w$x") =~ s/(\d)(\d)/$2$1/g;
		$count{substr($word, 0, 4)}++;
		$count{"$1 and $2"}++ if $word =~ /^w(\d\d).*(\d)0/;
	}
	my ($most) = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
	printf "%d %d %s\n", $round, scalar keys %count, $most;
	if ($round % 60 == 0) {
		printf "the timer %s\n", $ticks ? "ticks" : "is dead";
		$ticks = 0;
	}
}
# What perl does at its end takes a while, and no handler is there any more.
setitimer(ITIMER_REAL, 0);
